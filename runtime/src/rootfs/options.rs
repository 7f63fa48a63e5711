//! mount(8) options as mount(2) flags. Source: mount(8), runtime-spec config.md "Linux mount options".

use nix::mount::MsFlags;

/// What a list of options means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Flags to set.
    pub set: MsFlags,
    /// Flags to clear, for remounts of what has them.
    pub clear: MsFlags,
    /// A bind mount, and whether it takes the mounts below with it.
    pub bind: Option<Recursive>,
    /// Propagation to set once it is mounted.
    pub propagation: Option<MsFlags>,
    /// Make the mount and all below it read-only (`rro`).
    pub recursive_read_only: bool,
    /// What is left for the file system itself.
    pub data: String,
}

/// Whether something reaches the mounts below a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursive {
    /// It does.
    Yes,
    /// It does not.
    No,
}

impl Options {
    /// Reads options; what is not known goes to the file system, which names what it refuses.
    pub fn parse(options: &[String]) -> Self {
        let mut parsed = Self {
            set: MsFlags::empty(),
            clear: MsFlags::empty(),
            bind: None,
            propagation: None,
            recursive_read_only: false,
            data: String::new(),
        };
        let mut data = Vec::new();
        for option in options {
            match option.as_str() {
                "bind" => parsed.bind = Some(Recursive::No),
                "rbind" => parsed.bind = Some(Recursive::Yes),
                "rro" => {
                    parsed.recursive_read_only = true;
                    parsed.set |= MsFlags::MS_RDONLY;
                }
                "defaults" => {}
                other => {
                    if let Some((flag, on)) = flag(other) {
                        parsed.set.set(flag, on);
                        parsed.clear.set(flag, !on);
                    } else if let Some(kind) = propagation(other) {
                        parsed.propagation = Some(kind);
                    } else {
                        data.push(other);
                    }
                }
            }
        }
        parsed.data = data.join(",");
        parsed
    }
}

fn flag(option: &str) -> Option<(MsFlags, bool)> {
    Some(match option {
        "ro" => (MsFlags::MS_RDONLY, true),
        "rw" => (MsFlags::MS_RDONLY, false),
        "nosuid" => (MsFlags::MS_NOSUID, true),
        "suid" => (MsFlags::MS_NOSUID, false),
        "nodev" => (MsFlags::MS_NODEV, true),
        "dev" => (MsFlags::MS_NODEV, false),
        "noexec" => (MsFlags::MS_NOEXEC, true),
        "exec" => (MsFlags::MS_NOEXEC, false),
        "sync" => (MsFlags::MS_SYNCHRONOUS, true),
        "async" => (MsFlags::MS_SYNCHRONOUS, false),
        "dirsync" => (MsFlags::MS_DIRSYNC, true),
        "mand" => (MsFlags::MS_MANDLOCK, true),
        "nomand" => (MsFlags::MS_MANDLOCK, false),
        "noatime" => (MsFlags::MS_NOATIME, true),
        "atime" => (MsFlags::MS_NOATIME, false),
        "nodiratime" => (MsFlags::MS_NODIRATIME, true),
        "diratime" => (MsFlags::MS_NODIRATIME, false),
        "relatime" => (MsFlags::MS_RELATIME, true),
        "norelatime" => (MsFlags::MS_RELATIME, false),
        "strictatime" => (MsFlags::MS_STRICTATIME, true),
        "nostrictatime" => (MsFlags::MS_STRICTATIME, false),
        "iversion" => (MsFlags::MS_I_VERSION, true),
        "silent" => (MsFlags::MS_SILENT, true),
        "loud" => (MsFlags::MS_SILENT, false),
        _ => return None,
    })
}

/// A propagation type by its name, such as `rslave`; `None` if it is none.
pub fn propagation(name: &str) -> Option<MsFlags> {
    let (kind, recursive) = match name.strip_prefix('r') {
        Some(kind) => (kind, MsFlags::MS_REC),
        None => (name, MsFlags::empty()),
    };
    let kind = match kind {
        "shared" => MsFlags::MS_SHARED,
        "slave" => MsFlags::MS_SLAVE,
        "private" => MsFlags::MS_PRIVATE,
        "unbindable" => MsFlags::MS_UNBINDABLE,
        _ => return None,
    };
    Some(kind | recursive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_propagation_and_data_are_told_apart() {
        let options = parse(&["nosuid", "noexec", "rprivate", "mode=1777", "size=64k", "ro"]);
        assert_eq!(options.set, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY);
        assert_eq!(options.propagation, Some(MsFlags::MS_PRIVATE | MsFlags::MS_REC));
        assert_eq!(options.data, "mode=1777,size=64k");
    }

    #[test]
    fn the_last_of_two_opposites_holds() {
        let options = parse(&["ro", "rw"]);
        assert_eq!((options.set, options.clear), (MsFlags::empty(), MsFlags::MS_RDONLY));
        assert_eq!(parse(&["rw", "ro"]).set, MsFlags::MS_RDONLY);
    }

    #[test]
    fn a_word_that_starts_with_r_is_not_always_recursive() {
        assert_eq!(parse(&["rbind"]).bind, Some(Recursive::Yes));
        assert_eq!(parse(&["relatime"]).set, MsFlags::MS_RELATIME);
        assert_eq!(propagation("rprivy"), None);
    }
}
