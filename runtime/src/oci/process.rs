//! The application of a container. Source: config.md, "Process".

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::scheduling::{ExecCpuAffinity, IoPriority, Scheduler};
use super::{filled, nullable, object};
use crate::error::{Error, Result};

/// What is executed, as whom, and with which rights.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Whether it gets a pseudoterminal.
    #[serde(default, deserialize_with = "nullable")]
    pub terminal: bool,
    /// Size of that terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Working directory, absolute.
    pub cwd: PathBuf,
    /// Environment as `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Program and arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub args: Vec<String>,
    /// Resource limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub rlimits: Vec<Rlimit>,
    /// Whether execve(2) can never grant more rights.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "nullable")]
    pub no_new_privileges: bool,
    /// Capability sets; absent means none at all.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub capabilities: Option<Capabilities>,
    /// Adjustment of the OOM killer's score, -1000 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Policy of the CPU scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// Priority of block I/O.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_priority: Option<IoPriority>,
    /// CPUs of processes that `exec` starts.
    #[serde(default, rename = "execCPUAffinity", skip_serializing_if = "Option::is_none")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
    /// AppArmor profile.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub apparmor_profile: Option<String>,
    /// SELinux label.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub selinux_label: Option<String>,
    /// Who it runs as.
    #[serde(default, deserialize_with = "nullable")]
    pub user: User,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// Largest id of a user or group that is taken. Larger ones are negative numbers to programs that keep ids in an `int`, and the
/// largest of all means "leave as it is" to setresuid(2) and chown(2).
pub const LARGEST_ID: u32 = i32::MAX.cast_unsigned();

/// Reads the id of a user or group.
///
/// # Errors
/// Says what is wrong with the text: it is empty, no number, or outside 0 to [`LARGEST_ID`].
pub fn parse_id(text: &str) -> Result<u32> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text.is_empty() {
        return Err(Error::new("an id is empty"));
    }
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::new(format!("'{}' is not a number", text.escape_debug())));
    }
    match text.parse() {
        Ok(id) => check_id(id),
        Err(_) => Err(outside(text)),
    }
}

/// Refuses an id that is too large.
///
/// # Errors
/// It is above [`LARGEST_ID`].
pub fn check_id(id: u32) -> Result<u32> {
    if id <= LARGEST_ID { Ok(id) } else { Err(outside(&id.to_string())) }
}

fn outside(id: &str) -> Error {
    Error::new(format!("id {id} is outside 0 to {LARGEST_ID}"))
}

/// Numeric identity inside the container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// File creation mask; the default is 0022.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub additional_gids: Vec<u32>,
}

/// The five capability sets of capabilities(7), by names such as `CAP_CHOWN`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Upper bound of what execve(2) can grant.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub bounding: Vec<String>,
    /// What is in force.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub effective: Vec<String>,
    /// What file capabilities may keep.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub inheritable: Vec<String>,
    /// What may be put in force.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub permitted: Vec<String>,
    /// What an unprivileged program keeps over execve(2).
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub ambient: Vec<String>,
}

/// One limit of setrlimit(2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rlimit {
    /// A name such as `RLIMIT_NOFILE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The limit in force.
    pub soft: u64,
    /// The ceiling of the soft limit.
    pub hard: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_that_no_program_takes_for_negative_ones() {
        assert_eq!(parse_id("0").unwrap(), 0);
        assert_eq!(parse_id("2147483647").unwrap(), LARGEST_ID);
        for (text, expected) in [
            ("", "empty"),
            ("-", "not a number"),
            ("www", "not a number"),
            ("1 ", "not a number"),
            ("0x10", "not a number"),
            ("-1", "outside"),
            ("2147483648", "outside"),
            ("4294967295", "outside"),
            ("4294967296", "outside"),
            ("99999999999999999999999999", "outside"),
        ] {
            let message = parse_id(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
