//! By what a container's control groups are known.

use std::path::Path;

/// A name that is in the paths of a container's control groups, and of nobody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupName {
    /// The name of the group itself: what a runtime was asked for.
    Whole(String),
    /// A part of the group's name: an engine's id of the container, before and behind which it writes what it likes.
    Part(String),
}

impl GroupName {
    /// Whether a group, as a path on a hierarchy or as a directory of one, is the container's own, or below it.
    pub fn owns(&self, group: &Path) -> bool {
        group.components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            match self {
                Self::Whole(name) => part == name.as_str(),
                Self::Part(name) => !name.is_empty() && part.contains(name),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_owns_its_groups_alone() {
        let whole = GroupName::Whole("plimsoll-a-1".into());
        assert!(whole.owns(Path::new("/sys/fs/cgroup/cpu/plimsoll-a-1")));
        assert!(whole.owns(Path::new("/plimsoll-a-1/inner")));
        assert!(!whole.owns(Path::new("/plimsoll-a-10")) && !whole.owns(Path::new("/")));
        let part = GroupName::Part("6f3c".into());
        for own in ["/docker/6f3c", "/libpod_parent/libpod-6f3c", "/system.slice/docker-6f3c.scope"] {
            assert!(part.owns(Path::new(own)), "{own}");
        }
        assert!(!part.owns(Path::new("/docker/6f3d")));
        // What an engine did not tell is in no path.
        assert!(!GroupName::Part(String::new()).owns(Path::new("/docker/6f3c")));
    }
}
