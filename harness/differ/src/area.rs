//! Areas of a configuration.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! areas {
    ($($(#[$doc:meta])* $area:ident $word:literal),+ $(,)?) => {
        /// What a part of a case changes. Its word is what `--only` takes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Area {
            $($(#[$doc])* $area,)+
        }

        impl Area {
            /// Every area.
            pub const ALL: &[Self] = &[$(Self::$area),+];

            /// Its word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$area => $word,)+
                }
            }
        }
    };
}

areas!(
    /// Namespaces that are made, left out, or joined.
    Namespaces "namespaces",
    /// User namespaces with their mappings.
    Users "users",
    /// Mounts with their options and propagation.
    Mounts "mounts",
    /// The root: read-only, propagation.
    Root "root",
    /// Capability sets.
    Caps "caps",
    /// Resource limits of setrlimit(2).
    Rlimits "rlimits",
    /// uid, gid, groups, umask.
    User "user",
    /// Environment.
    Env "env",
    /// Working directory.
    Cwd "cwd",
    /// Arguments.
    Args "args",
    /// Masked and read-only paths.
    Paths "paths",
    /// Kernel parameters.
    Sysctl "sysctl",
    /// Device nodes.
    Devices "devices",
    /// System call filter.
    Seccomp "seccomp",
    /// Limits of memory.
    Memory "memory",
    /// Limits of CPU time, and CPUs.
    Cpu "cpu",
    /// Limit of tasks.
    Pids "pids",
    /// OOM score, no_new_privs, personality, scheduler, I/O priority.
    Terms "terms",
    /// Host and domain name.
    Names "names",
    /// Hooks, and annotations that they are told.
    Hooks "hooks",
    /// Configurations that must be refused.
    Wrong "wrong",
    /// Root file systems that lead elsewhere.
    Rootfs "rootfs",
    /// Operations on a running container.
    Steps "steps",
);

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that names no area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<&str> = Area::ALL.iter().map(|area| area.word()).collect();
        write!(f, "unknown area '{}': expected one of {}", self.0, all.join(", "))
    }
}

impl std::error::Error for Unknown {}

impl FromStr for Area {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.iter().copied().find(|area| area.word() == text).ok_or_else(|| Unknown(text.to_owned()))
    }
}
