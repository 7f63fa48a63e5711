//! What only Linux has. Source: config-linux.md.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::scheduling::{MemoryPolicy, Personality};
use super::{Resources, Seccomp, filled, nullable, object};
use crate::namespace::Kind;

/// The `linux` object of `config.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// Namespaces to make or, where a path is given, to join. A kind that is not listed is the caller's.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub namespaces: Vec<Namespace>,
    /// User ids of a new user namespace.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of a new user namespace.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub gid_mappings: Vec<IdMapping>,
    /// Offsets of a new time namespace, by `monotonic` and `boottime`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    /// Device nodes beside the default ones.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub devices: Vec<Device>,
    /// Absolute: below the root of each hierarchy. Relative or absent: below the caller's own group.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub cgroups_path: Option<PathBuf>,
    /// Limits and shares.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub resources: Option<Resources>,
    /// Propagation of the container's root: `shared`, `slave`, `private`, `unbindable` or with a leading `r`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub rootfs_propagation: Option<String>,
    /// System call filter.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub seccomp: Option<Seccomp>,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub sysctl: BTreeMap<String, String>,
    /// Paths that read as empty.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub masked_paths: Vec<PathBuf>,
    /// Paths that cannot be written.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub readonly_paths: Vec<PathBuf>,
    /// Execution domain of the container's processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// NUMA memory policy of the container's processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicy>,
    /// Cache and memory bandwidth of resctrl: refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<serde_json::Value>,
    /// Network devices of the host to move into the network namespace, by their names.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// SELinux label of the mounts.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub mount_label: Option<String>,
}

/// A namespace to make, or to join.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The namespace to join; absent means a new one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub path: Option<PathBuf>,
}

/// A range of ids of a user namespace, see user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many ids.
    pub size: u32,
}

/// What a network device becomes in the container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NetDevice {
    /// Its name there; the one that it has if this is absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub name: Option<String>,
}

impl NetDevice {
    /// The name in the container of the device `old`.
    pub fn name<'a>(&'a self, old: &'a str) -> &'a str {
        self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(old)
    }
}

/// Offset of a clock, see time_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    /// Whole seconds; may be negative.
    pub secs: i64,
    /// Nanoseconds.
    pub nanosecs: u32,
}

/// A device node to make in the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// `c`, `u` (character), `b` (block) or `p` (fifo).
    #[serde(rename = "type")]
    pub kind: String,
    /// Absolute path inside the container.
    pub path: PathBuf,
    /// Major number.
    #[serde(default, deserialize_with = "nullable")]
    pub major: i64,
    /// Minor number.
    #[serde(default, deserialize_with = "nullable")]
    pub minor: i64,
    /// Permission bits; the default is 0666.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

impl Linux {
    /// The entry for a kind, if it was asked for.
    pub fn namespace(&self, kind: Kind) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.kind == kind)
    }

    /// Whether a new namespace of this kind is to be made.
    pub fn makes(&self, kind: Kind) -> bool {
        self.namespace(kind).is_some_and(|namespace| namespace.path.is_none())
    }
}
