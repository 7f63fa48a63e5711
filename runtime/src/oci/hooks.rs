//! Programs that run at points of the lifecycle. Source: config.md, "POSIX-platform Hooks".

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::nullable;

/// The hooks of each point, in the order in which they run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Deprecated by the specification, still used: after the namespaces exist, in the runtime's namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub prestart: Vec<Hook>,
    /// During `create`, in the runtime's namespaces, before the root is switched.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub create_runtime: Vec<Hook>,
    /// During `create`, in the container's namespaces, before the root is switched.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub create_container: Vec<Hook>,
    /// During `start`, in the container's namespaces and root, before the application.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub start_container: Vec<Hook>,
    /// After the application was started, in the runtime's namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub poststart: Vec<Hook>,
    /// After the container was deleted, in the runtime's namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub poststop: Vec<Hook>,
}

/// One program; the container's state comes to it on standard input.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments including the program's name; empty means the path alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub args: Vec<String>,
    /// The whole environment, as `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Seconds after which it counts as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}
