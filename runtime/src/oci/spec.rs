//! The configuration as a whole, its root and its mounts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Hooks, IdMapping, Linux, Process, filled, nullable, object};

/// The version of the runtime specification that the core writes and understands.
pub const VERSION: &str = "1.3.0";

/// A container's configuration, as `config.json` holds it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Version of the specification that the file follows.
    pub oci_version: String,
    /// The root file system. Required on Linux.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub root: Option<Root>,
    /// Mounts beside the root, in the order in which they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub mounts: Vec<Mount>,
    /// The application. May be absent until `start`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub process: Option<Process>,
    /// Host name in a UTS namespace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub hostname: Option<String>,
    /// NIS domain name in a UTS namespace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub domainname: Option<String>,
    /// Programs to run at points of the lifecycle.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub hooks: Option<Hooks>,
    /// Free-form data of the caller, handed to hooks in the state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub linux: Option<Linux>,
}

/// The root file system of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: PathBuf,
    /// Whether it is mounted read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "nullable")]
    pub readonly: bool,
}

/// One mount, as in `mount -t TYPE -o OPTIONS SOURCE DESTINATION`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Absolute path inside the container.
    pub destination: PathBuf,
    /// File system type; `bind`, `none` or absent with a bind option makes a bind mount.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub kind: Option<String>,
    /// Device, or for bind mounts a host path (absolute, or relative to the bundle).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub source: Option<PathBuf>,
    /// mount(8) options.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub options: Vec<String>,
    /// For bind mounts: the user ids that files are shown with. Container ids are those of the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub uid_mappings: Vec<IdMapping>,
    /// The same for group ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub gid_mappings: Vec<IdMapping>,
}

impl Spec {
    /// The Linux part; all of its defaults if the file has none.
    pub fn linux(&self) -> std::borrow::Cow<'_, Linux> {
        match &self.linux {
            Some(linux) => std::borrow::Cow::Borrowed(linux),
            None => std::borrow::Cow::Owned(Linux::default()),
        }
    }
}
