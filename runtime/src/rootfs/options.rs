//! What the words of a mount's options mean. Source: mount(8), runtime-spec config.md "Linux mount options".

use nix::mount::MsFlags;

use super::attributes::{Attributes, Recursive};

/// Every word that is understood. Others are left for the file system, and refused for a bind mount.
pub const WORDS: [&str; 62] = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// What a list of options means. A word is looked at once, here; what comes out is no text that anybody takes apart again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Of the mount itself.
    pub attributes: Attributes,
    /// Of the mount and all below it: `rro` and its kin.
    pub below: Attributes,
    /// Of a new file system as a whole, such as `sync`.
    pub file_system: Vec<&'static str>,
    /// A bind mount, and whether it takes the mounts below with it.
    pub bind: Option<Recursive>,
    /// Change what is mounted there instead of mounting something.
    pub remount: bool,
    /// Propagation to set once it is mounted, one after the other.
    pub propagation: Vec<MsFlags>,
    /// Show the owners of files through an id mapping.
    pub id_map: Option<Recursive>,
    /// Fill a tmpfs with what it covers.
    pub copy_up: bool,
    /// What is no word of mount(8): the file system's own, by name and value.
    pub data: Vec<(String, Option<String>)>,
}

impl Options {
    /// Reads options. What is not known is left in [`Options::data`] for the file system, which refuses what it does not know.
    pub fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        match option {
            "bind" => self.bind = Some(Recursive::No),
            "rbind" => self.bind = Some(Recursive::Yes),
            "remount" => self.remount = true,
            "idmap" => self.id_map = Some(Recursive::No),
            "ridmap" => self.id_map = Some(Recursive::Yes),
            "tmpcopyup" => self.copy_up = true,
            // What every mount does anyway. `silent` and `loud` are about the kernel's log.
            "defaults" | "silent" | "loud" | "noiversion" => {}
            other => {
                if let Some(attributes) = attribute(other) {
                    self.attributes.add(attributes);
                } else if let Some(attributes) = other.strip_prefix('r').and_then(attribute) {
                    self.below.add(attributes);
                } else if let Some((flag, on)) = of_file_system(other) {
                    self.file_system.retain(|known| *known != flag);
                    if on {
                        self.file_system.push(flag);
                    }
                } else if let Some(kind) = propagation(other) {
                    self.propagation.push(kind);
                } else {
                    let (name, value) = match other.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (other, None),
                    };
                    self.data.push((name.to_owned(), value));
                }
            }
        }
    }

    /// A word that means nothing for a bind mount, which has no file system of its own to give it to.
    pub fn foreign_to_bind(&self) -> Option<&str> {
        if self.copy_up {
            return Some("tmpcopyup");
        }
        self.data.first().map(|(name, _)| name.as_str()).or_else(|| self.file_system.first().copied())
    }

    /// Whether the file system's own options name this one.
    pub fn has_data(&self, name: &str) -> bool {
        self.data.iter().any(|(known, _)| known == name)
    }
}

/// Words for one mount, which with a leading `r` are for all below it, too.
fn attribute(option: &str) -> Option<Attributes> {
    let set = |set| Attributes { set, clear: 0 };
    let clear = |clear| Attributes { set: 0, clear };
    let times = |set| Attributes { set, clear: libc::MOUNT_ATTR__ATIME };
    Some(match option {
        "ro" => set(libc::MOUNT_ATTR_RDONLY),
        "rw" => clear(libc::MOUNT_ATTR_RDONLY),
        "nosuid" => set(libc::MOUNT_ATTR_NOSUID),
        "suid" => clear(libc::MOUNT_ATTR_NOSUID),
        "nodev" => set(libc::MOUNT_ATTR_NODEV),
        "dev" => clear(libc::MOUNT_ATTR_NODEV),
        "noexec" => set(libc::MOUNT_ATTR_NOEXEC),
        "exec" => clear(libc::MOUNT_ATTR_NOEXEC),
        "nodiratime" => set(libc::MOUNT_ATTR_NODIRATIME),
        "diratime" => clear(libc::MOUNT_ATTR_NODIRATIME),
        "nosymfollow" => set(libc::MOUNT_ATTR_NOSYMFOLLOW),
        "symfollow" => clear(libc::MOUNT_ATTR_NOSYMFOLLOW),
        "noatime" => times(libc::MOUNT_ATTR_NOATIME),
        "strictatime" => times(libc::MOUNT_ATTR_STRICTATIME),
        // Without the others the kernel does as `relatime` says.
        "relatime" | "atime" | "norelatime" | "nostrictatime" => times(libc::MOUNT_ATTR_RELATIME),
        _ => return None,
    })
}

/// Words for a file system as a whole, by their names for fsconfig(2).
fn of_file_system(option: &str) -> Option<(&'static str, bool)> {
    Some(match option {
        "sync" => ("sync", true),
        "async" => ("sync", false),
        "dirsync" => ("dirsync", true),
        "mand" => ("mand", true),
        "nomand" => ("mand", false),
        "lazytime" => ("lazytime", true),
        "nolazytime" => ("lazytime", false),
        "iversion" => ("iversion", true),
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
    fn attributes_propagation_and_data_are_told_apart() {
        let options = parse(&["nosuid", "noexec", "rprivate", "mode=1777", "newinstance", "ro", "sync"]);
        let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_RDONLY;
        assert_eq!(options.attributes.set, attributes);
        assert_eq!(options.propagation, [MsFlags::MS_PRIVATE | MsFlags::MS_REC]);
        assert_eq!(
            options.data,
            [("mode".to_owned(), Some("1777".to_owned())), ("newinstance".to_owned(), None)]
        );
        assert_eq!(options.file_system, ["sync"]);
    }

    #[test]
    fn the_last_of_two_opposites_wins() {
        let options = parse(&["ro", "rw", "sync", "async"]);
        assert_eq!(options.attributes, Attributes { set: 0, clear: libc::MOUNT_ATTR_RDONLY });
        assert!(options.file_system.is_empty());
    }

    #[test]
    fn a_value_is_not_taken_apart() {
        let options = parse(&["context=u:r:t:s0:c1,c2=x,ro"]);
        assert_eq!(options.data, [("context".to_owned(), Some("u:r:t:s0:c1,c2=x,ro".to_owned()))]);
        assert!(options.attributes.is_empty());
    }

    #[test]
    fn every_word_is_understood_and_does_something() {
        for word in WORDS {
            let options = parse(&[word]);
            assert!(options.data.is_empty(), "{word}");
            let nothing = matches!(word, "async" | "defaults" | "silent" | "loud")
                || matches!(word, "noiversion" | "nolazytime" | "nomand");
            assert_eq!(options == Options::default(), nothing, "{word}");
            let recursive = word.strip_prefix('r').filter(|word| attribute(word).is_some());
            assert_eq!(options.below.is_empty(), recursive.is_none() || attribute(word).is_some(), "{word}");
        }
    }

    #[test]
    fn what_a_bind_mount_cannot_have_is_named() {
        assert_eq!(parse(&["ro", "noexce"]).foreign_to_bind(), Some("noexce"));
        assert_eq!(parse(&["size=5"]).foreign_to_bind(), Some("size"));
        assert_eq!(parse(&["sync"]).foreign_to_bind(), Some("sync"));
        assert_eq!(parse(&["rbind", "rro", "nosymfollow", "idmap", "async"]).foreign_to_bind(), None);
        assert_eq!(parse(&["rrro"]).foreign_to_bind(), Some("rrro"));
    }
}
