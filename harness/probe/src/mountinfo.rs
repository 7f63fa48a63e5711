//! The mounts of this process, without the numbers that the kernel gives them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Done, Failure};

/// A mount. Source: proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is mounted, as mountinfo writes it.
    pub point: String,
    /// What of the file system is its root.
    pub root: String,
    /// Type of the file system.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its source.
    pub source: String,
    /// Options of the mount.
    pub options: BTreeSet<String>,
    /// Options of the file system.
    #[serde(rename = "super")]
    pub filesystem: BTreeSet<String>,
    /// `shared`, `master`, `propagate_from` or `unbindable`, without the numbers of groups.
    pub propagation: BTreeSet<String>,
}

/// All mounts, in the kernel's order.
///
/// # Errors
/// mountinfo cannot be read, or has a line of another form.
pub(crate) fn mounts() -> Done<Vec<Mount>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").doing("reading /proc/self/mountinfo")?;
    text.lines()
        .map(|line| mount(line).ok_or_else(|| Failure::new(format!("mountinfo has the line '{line}'"))))
        .collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let words: Vec<&str> = mount.split(' ').collect();
    let [_, _, _, root, point, options, optional @ ..] = words.as_slice() else { return None };
    let mut filesystem = filesystem.split(' ');
    let (kind, source, rest) = (filesystem.next()?, filesystem.next()?, filesystem.next()?);
    let words = |list: &str| list.split(',').map(str::to_owned).collect();
    Some(Mount {
        point: (*point).to_owned(),
        root: (*root).to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: words(options),
        filesystem: words(rest),
        propagation: optional
            .iter()
            .filter(|word| !word.is_empty())
            .map(|word| word.split(':').next().unwrap_or(word).to_owned())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_peer_groups_are_left_out() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:7 master:1 - ext3 /dev/root rw,errors=continue";
        let mount = mount(line).unwrap();
        assert_eq!(
            (mount.point.as_str(), mount.root.as_str(), mount.kind.as_str()),
            ("/mnt2", "/mnt1", "ext3")
        );
        assert_eq!(mount.propagation, ["master".to_owned(), "shared".to_owned()].into());
        assert!(mount.options.contains("noatime") && mount.filesystem.contains("errors=continue"));
        assert!(super::mount("36 35 98:0 /mnt1 - ext3").is_none());
        let plain = "36 35 0:5 / / rw - tmpfs none rw";
        assert!(super::mount(plain).unwrap().propagation.is_empty());
    }
}
