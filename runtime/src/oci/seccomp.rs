//! System call filters. Source: config-linux.md, "Seccomp".

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{filled, nullable};

/// A filter: a default action, and rules by system call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    /// Action where no rule matches, such as `SCMP_ACT_ERRNO`.
    pub default_action: String,
    /// Error number of a default `SCMP_ACT_ERRNO`; EPERM if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// Architectures such as `SCMP_ARCH_X86_64`; the native one is always included, and calls of others kill.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub architectures: Vec<String>,
    /// `SECCOMP_FILTER_FLAG_…` of seccomp(2).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub flags: Vec<String>,
    /// UNIX socket of the program that decides about `SCMP_ACT_NOTIFY`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub listener_path: Option<PathBuf>,
    /// Free-form data for that program.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub listener_metadata: Option<String>,
    /// Rules; the first that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub syscalls: Vec<SeccompRule>,
}

/// One rule of a filter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompRule {
    /// System call names.
    pub names: Vec<String>,
    /// What to do with them.
    pub action: String,
    /// Error number of `SCMP_ACT_ERRNO` or datum of `SCMP_ACT_TRACE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions on arguments, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub args: Vec<SeccompArg>,
}

/// A condition on one argument.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompArg {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// What it is compared with; for `SCMP_CMP_MASKED_EQ` the mask.
    pub value: u64,
    /// For `SCMP_CMP_MASKED_EQ` what the masked argument must equal.
    #[serde(default, deserialize_with = "nullable")]
    pub value_two: u64,
    /// A comparison such as `SCMP_CMP_EQ`.
    pub op: String,
}
