//! Which controller lives on which hierarchy: read from the mount table, nothing guessed from paths.
//!
//! Source: cgroups(7), proc(5) (`/proc/PID/mountinfo`), `Documentation/admin-guide/cgroup-v2.rst`.

use std::fmt;
use std::path::{Path, PathBuf};

use procfs::FromBufRead;
use procfs::process::{MountInfo, MountInfos};

use crate::error::{Doing, Error, Result};
use crate::kernel_file;

/// Names that a v1 hierarchy's mount options may carry beside controllers are told apart by this list.
const V1_CONTROLLERS: [&str; 15] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
    "debug",
];

/// The two generations of the control group interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `Documentation/admin-guide/cgroup-v1/`.
    V1,
    /// `Documentation/admin-guide/cgroup-v2.rst`.
    V2,
}

/// How a host arranges its hierarchies as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is mounted.
    None,
    /// v1 hierarchies alone.
    V1,
    /// The v2 hierarchy alone.
    V2,
    /// Both: each controller is on the one that owns it.
    Hybrid,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::None => "none",
            Mode::V1 => "v1",
            Mode::V2 => "v2",
            Mode::Hybrid => "hybrid",
        })
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its generation.
    pub version: Version,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Which group of the hierarchy is mounted there; `/` unless it is a part, as inside a container.
    pub root: PathBuf,
    /// The controllers that it owns.
    pub controllers: Vec<String>,
    /// The name of a v1 hierarchy, such as `systemd`.
    pub name: Option<String>,
}

impl Hierarchy {
    /// Whether it owns a controller.
    pub fn owns(&self, controller: &str) -> bool {
        self.controllers.iter().any(|own| own == controller)
    }

    /// The directory of a group, given as `/proc/PID/cgroup` shows it; `None` if it lies outside what is mounted.
    pub fn dir(&self, group: &Path) -> Option<PathBuf> {
        let below = group.strip_prefix(&self.root).ok()?;
        Some(if below.as_os_str().is_empty() {
            self.mount_point.clone()
        } else {
            self.mount_point.join(below)
        })
    }

    /// How `/proc/PID/cgroup` labels it: its controllers, its name, or nothing for v2.
    fn is_labelled(&self, label: &str) -> bool {
        match (self.version, &self.name) {
            (Version::V2, _) => label.is_empty(),
            (Version::V1, Some(name)) => label == format!("name={name}"),
            (Version::V1, None) => label.split(',').any(|controller| self.owns(controller)),
        }
    }
}

/// Every hierarchy that is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// In mount order, each hierarchy once.
    pub hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Detects the layout that the calling process sees.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn detect() -> Result<Self> {
        let text = kernel_file::read("/proc/self/mountinfo").doing(|| "reading /proc/self/mountinfo")?;
        Self::from_mountinfo(&text, |mount_point| {
            kernel_file::read(mount_point.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    /// Detects a layout from the text of a mountinfo file. `v2_controllers` reads a v2 mount's
    /// `cgroup.controllers`, because the mount table does not name those.
    ///
    /// # Errors
    /// The text is not that of a mountinfo file.
    pub fn from_mountinfo(text: &str, v2_controllers: impl Fn(&Path) -> String) -> Result<Self> {
        // There may be thousands of others, and a line takes long to take apart.
        let text: String = text.split_inclusive('\n').filter(|line| line.contains(" - cgroup")).collect();
        let MountInfos(mounts) = MountInfos::from_buf_read(text.as_bytes())
            .map_err(|error| Error::new(format!("mountinfo cannot be understood: {error}")))?;
        let mut layout = Layout::default();
        for mount in mounts {
            let Some(found) = hierarchy(mount, &v2_controllers) else { continue };
            let seen = layout.hierarchies.iter().any(|known| {
                known.version == found.version
                    && (known.version == Version::V2
                        || (known.controllers == found.controllers && known.name == found.name))
            });
            if !seen {
                layout.hierarchies.push(found);
            }
        }
        Ok(layout)
    }

    /// The arrangement as a whole.
    pub fn mode(&self) -> Mode {
        let has = |version| self.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
        match (has(Version::V1), has(Version::V2)) {
            (false, false) => Mode::None,
            (true, false) => Mode::V1,
            (false, true) => Mode::V2,
            (true, true) => Mode::Hybrid,
        }
    }

    /// The hierarchy that owns a controller.
    pub fn owner(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.owns(controller))
    }

    /// The v2 hierarchy, if it is mounted.
    pub fn v2(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2)
    }

    /// The group of a process on a hierarchy, from the text of its `/proc/PID/cgroup`.
    pub fn group_of<'t>(&self, hierarchy: &Hierarchy, proc_cgroup: &'t str) -> Option<&'t Path> {
        proc_cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let label = fields.next()?;
            let group = fields.next()?;
            hierarchy.is_labelled(label).then(|| Path::new(group))
        })
    }
}

fn hierarchy(mount: MountInfo, v2_controllers: &impl Fn(&Path) -> String) -> Option<Hierarchy> {
    let mount_point = mount.mount_point;
    let root = PathBuf::from(mount.root);
    match mount.fs_type.as_str() {
        "cgroup" => {
            let mut controllers: Vec<String> = V1_CONTROLLERS
                .into_iter()
                .filter(|controller| mount.super_options.contains_key(*controller))
                .map(str::to_owned)
                .collect();
            controllers.sort_unstable();
            let name = mount.super_options.get("name").cloned().flatten();
            Some(Hierarchy { version: Version::V1, mount_point, root, controllers, name })
        }
        "cgroup2" => {
            let controllers = v2_controllers(&mount_point).split_whitespace().map(str::to_owned).collect();
            Some(Hierarchy { version: Version::V2, mount_point, root, controllers, name: None })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /pod /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    fn layout(text: &str) -> Layout {
        Layout::from_mountinfo(text, |_| "hugetlb misc\n".to_owned()).unwrap()
    }

    #[test]
    fn hybrid_gives_each_controller_to_its_owner() {
        let layout = layout(HYBRID);
        assert_eq!(layout.mode(), Mode::Hybrid);
        assert_eq!(layout.owner("cpuacct").unwrap().mount_point, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(layout.owner("hugetlb").unwrap().version, Version::V2);
        assert!(layout.owner("freezer").is_none());
    }

    #[test]
    fn v1_v2_and_none_are_told_apart() {
        let of = |start: usize, end: usize| {
            let lines: Vec<&str> = HYBRID.lines().skip(start).take(end - start).collect();
            layout(&(lines.join("\n") + "\n")).mode()
        };
        assert_eq!((of(0, 1), of(0, 4), of(4, 5)), (Mode::None, Mode::V1, Mode::V2));
    }

    #[test]
    fn a_second_mount_of_a_hierarchy_is_not_a_second_hierarchy() {
        let twice = format!("{HYBRID}50 1 0:29 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct\n");
        assert_eq!(layout(&twice).hierarchies.len(), 4);
    }

    #[test]
    fn groups_are_found_by_label() {
        let layout = layout(HYBRID);
        let text = "5:cpu,cpuacct:/a\n4:memory:/pod/b\n1:name=systemd:/c\n0::/d:e\n";
        let find = |controller: &str| {
            let owner = layout.owner(controller).unwrap();
            owner.dir(layout.group_of(owner, text).unwrap())
        };
        assert_eq!(find("cpu").unwrap(), Path::new("/sys/fs/cgroup/cpu,cpuacct/a"));
        // The mount shows /pod and below: what lies outside has no directory here.
        assert_eq!(find("memory").unwrap(), Path::new("/sys/fs/cgroup/memory/b"));
        assert_eq!(layout.owner("memory").unwrap().dir(Path::new("/other")), None);
        assert_eq!(layout.group_of(layout.v2().unwrap(), text).unwrap(), Path::new("/d:e"));
    }

    #[test]
    fn the_mount_point_itself_has_no_trailing_slash() {
        let layout = layout(HYBRID);
        let v2 = layout.v2().unwrap();
        assert_eq!(v2.dir(Path::new("/")).unwrap().as_os_str(), "/sys/fs/cgroup/unified");
    }
}
