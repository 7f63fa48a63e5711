//! What must hold for a check to be tried, asked by trying.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use runtime::cgroup::{Layout, Version};
use runtime::namespace::Kind;

use crate::loopdev::LoopDevice;
use tries::in_fresh_group;

mod tries;

/// One condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Rights over namespaces and mounts: root's, where nothing takes them away.
    Root,
    /// A control group of our own can be made on every hierarchy.
    Groups,
    /// A mounted hierarchy that has this controller (on v1 or v2).
    Controller(&'static str),
    /// CPU time can be accounted by group: `cpuacct` on v1, `cpu` on v2.
    CpuAccounting,
    /// Processes can be frozen: the v1 freezer, or any cgroup2 hierarchy.
    Freezer,
    /// The kernel has this kind of namespace.
    Namespace(Kind),
    /// The kernel has this file system.
    Filesystem(&'static str),
    /// This controller is on a cgroup2 hierarchy.
    V2(&'static str),
    /// This controller is on a v1 hierarchy.
    V1(&'static str),
    /// A cgroup2 hierarchy is mounted, whatever controllers it has.
    Unified,
    /// A group of this controller has one of these files: the first on v1, the second on v2.
    GroupFile(&'static str, &'static str, &'static str),
    /// So many CPUs.
    Cpus(usize),
    /// Loop devices.
    Loop,
    /// Input and output can be limited by group: blkio on v1, io on v2.
    BlockIo,
    /// Devices can be denied by group: the v1 controller, or programs on a cgroup2 hierarchy.
    DeviceControl,
    /// A group of the cgroup2 hierarchy has this file.
    UnifiedFile(&'static str),
    /// The cgroup2 hierarchy owns a controller that acts on whole processes.
    DomainController,
    /// Swap space.
    Swap,
    /// Huge pages that nobody uses.
    HugePages,
    /// The system call is there: asked by calling it.
    Seccomp,
    /// A program in PATH.
    Tool(&'static str),
}

impl Need {
    /// Why it is not met here, with the remedy; `None` if it is.
    pub fn unmet(self, layout: &Layout) -> Option<String> {
        let missing = self.missing(layout);
        // What a control group must have can be seen only where one can be made.
        if missing.is_none() && self.is_of_groups() { Need::Groups.unmet(layout) } else { missing }
    }

    fn is_of_groups(self) -> bool {
        matches!(
            self,
            Need::Controller(_)
                | Need::CpuAccounting
                | Need::Freezer
                | Need::V2(_)
                | Need::V1(_)
                | Need::Unified
                | Need::BlockIo
                | Need::DeviceControl
                | Need::DomainController
        )
    }

    // long because each need has a line
    fn missing(self, layout: &Layout) -> Option<String> {
        match self {
            Need::Root => once(self, tries::rights),
            Need::Groups => once(self, || tries::groups(layout)),
            Need::Controller(name) => layout.owner(name).is_none().then(|| no_controller(name)),
            Need::CpuAccounting => {
                let v2 = layout.owner("cpu").is_some_and(|owner| owner.version == Version::V2);
                (!v2 && layout.owner("cpuacct").is_none()).then(|| {
                    "no mounted cgroup hierarchy accounts CPU time: mount cpuacct or cgroup2".to_owned()
                })
            }
            Need::Freezer => (layout.owner("freezer").is_none() && layout.v2().is_none())
                .then(|| "no cgroup hierarchy has a freezer: mount the v1 freezer or cgroup2".to_owned()),
            // Without rights nothing is known of namespaces, and that is said already.
            Need::Namespace(kind) if kind.is_supported() && Need::Root.unmet(layout).is_some() => None,
            Need::Namespace(kind) => once(self, || tries::namespace(kind)),
            Need::Filesystem(name) => {
                let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
                let module = || Path::new("/sys/module").join(name).exists();
                (!is_known(&known, name) && !module())
                    .then(|| format!("this kernel has no file system '{name}': modprobe {name}"))
            }
            Need::V2(name) => on(layout, name, Version::V2),
            Need::V1(name) => on(layout, name, Version::V1),
            Need::Unified => layout
                .v2()
                .is_none()
                .then(|| "no cgroup2 hierarchy is mounted: mount -t cgroup2 none DIR".to_owned()),
            Need::GroupFile(controller, v1, v2) => once(self, || group_file(layout, controller, v1, v2)),
            Need::Cpus(count) => {
                let has = std::thread::available_parallelism().map_or(1, usize::from);
                (has < count).then(|| format!("needs {count} CPUs, and may use {has}"))
            }
            Need::Loop => {
                (!LoopDevice::available()).then(|| "there is no /dev/loop-control: modprobe loop".to_owned())
            }
            Need::BlockIo => {
                (layout.owner("io").is_none() && layout.owner("blkio").is_none()).then(|| no_controller("io"))
            }
            Need::DeviceControl => {
                (layout.owner("devices").is_none() && layout.v2().is_none()).then(|| no_controller("devices"))
            }
            Need::UnifiedFile(file) => once(self, || unified_file(layout, file)),
            Need::DomainController => {
                let owns = |name: &&str| layout.v2().is_some_and(|v2| v2.owns(name));
                (!["memory", "io", "hugetlb", "pids"].iter().any(owns)).then(|| {
                    "the cgroup2 hierarchy owns no controller that acts on whole processes".to_owned()
                })
            }
            Need::Swap => no_swap(),
            Need::HugePages => no_huge_pages(),
            Need::Seccomp => (!Path::new("/proc/sys/kernel/seccomp/actions_avail").exists())
                .then(|| "this kernel has no system call filters (CONFIG_SECCOMP_FILTER)".to_owned()),
            Need::Tool(name) => {
                let package = if name == "htpasswd" { "apache2-utils" } else { name };
                runtime::process::in_path(name)
                    .is_none()
                    .then(|| format!("there is no program {name}: apt-get install {package}"))
            }
        }
    }

    /// The condition in words.
    pub fn describe(self) -> String {
        match self {
            Need::Root => "root".into(),
            Need::Groups => "control groups of our own".into(),
            Need::Controller(name) => format!("cgroup controller {name}"),
            Need::CpuAccounting => "CPU accounting by cgroup".into(),
            Need::Freezer => "cgroup freezer".into(),
            Need::Namespace(kind) => format!("{} namespaces", kind.file()),
            Need::Filesystem(name) => format!("file system {name}"),
            Need::V2(name) => format!("cgroup v2 controller {name}"),
            Need::V1(name) => format!("cgroup v1 controller {name}"),
            Need::Unified => "cgroup2 hierarchy".into(),
            Need::GroupFile(_, v1, v2) => match (v1, v2) {
                ("", file) | (file, "") => format!("cgroup file {file}"),
                (v1, v2) => format!("cgroup file {v1} or {v2}"),
            },
            Need::Cpus(count) => format!("{count} CPUs"),
            Need::Loop => "loop devices".into(),
            Need::BlockIo => "cgroup controller io (blkio)".into(),
            Need::DeviceControl => "control of devices by cgroup".into(),
            Need::UnifiedFile(file) => format!("cgroup file {file}"),
            Need::DomainController => "a controller on the cgroup2 hierarchy".into(),
            Need::Swap => "swap space".into(),
            Need::HugePages => "free huge pages".into(),
            Need::Seccomp => "system call filters".into(),
            Need::Tool(name) => format!("program {name}"),
        }
    }
}

fn no_swap() -> Option<String> {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    (swaps.lines().count() < 2).then(|| "there is no swap space: swapon a file or device".to_owned())
}

fn no_huge_pages() -> Option<String> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = text.lines().find_map(|line| line.strip_prefix("HugePages_Free:")?.trim().parse::<u32>().ok());
    (free.unwrap_or(0) < 4).then(|| "fewer than 4 free huge pages: sysctl vm.nr_hugepages=8".to_owned())
}

fn no_controller(name: &str) -> String {
    let words = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let mut disabled = words.split_whitespace().filter_map(|word| word.strip_prefix("cgroup_disable="));
    if disabled.any(|names| names.split(',').any(|disabled| disabled == name)) {
        return format!(
            "the kernel was started with cgroup_disable={name}: take it from the kernel command line"
        );
    }
    format!("no mounted cgroup hierarchy has the controller '{name}': mount it, or see /proc/cgroups")
}

fn on(layout: &Layout, name: &str, version: Version) -> Option<String> {
    let word = if version == Version::V1 { "v1" } else { "v2" };
    match layout.owner(name) {
        Some(owner) if owner.version == version => None,
        Some(_) => Some(format!("the controller '{name}' is not on a cgroup {word} hierarchy here")),
        None => Some(no_controller(name)),
    }
}

/// Only a group below the root has all files, so one is made and removed.
fn group_file(layout: &Layout, controller: &str, v1: &str, v2: &str) -> Option<String> {
    let Some(owner) = layout.owner(controller) else {
        return Some(no_controller(controller));
    };
    let file = if owner.version == Version::V1 { v1 } else { v2 };
    if file.is_empty() {
        return Some(format!(
            "cgroup {} has no such interface",
            if owner.version == Version::V1 { "v1" } else { "v2" }
        ));
    }
    has_file(
        file,
        in_fresh_group(layout, |group| {
            group.part(controller).is_some_and(|part| part.dir.join(file).exists())
        }),
    )
}

fn unified_file(layout: &Layout, file: &str) -> Option<String> {
    has_file(
        file,
        in_fresh_group(layout, |group| {
            let unified = group.parts().iter().find(|part| part.hierarchy.version == Version::V2);
            unified.is_some_and(|part| part.dir.join(file).exists())
        }),
    )
}

fn has_file(file: &str, answer: runtime::error::Result<bool>) -> Option<String> {
    match answer {
        Ok(true) => None,
        Ok(false) => Some(format!("this kernel has no {file}")),
        Err(error) => Some(tries::no_group(&error)),
    }
}

/// What is known of a need: the answer does not change while a run goes on, and to try costs a process or a group.
fn once(need: Need, ask: impl FnOnce() -> Option<String>) -> Option<String> {
    static KNOWN: Mutex<Vec<(Need, Option<String>)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, answer)) = known.iter().find(|(asked, _)| *asked == need) {
        return answer.clone();
    }
    let answer = ask();
    known.push((need, answer.clone()));
    answer
}

/// Whether a file system is in a text of /proc/filesystems. Source: proc_filesystems(5).
fn is_known(text: &str, name: &str) -> bool {
    text.lines().any(|line| line.split_whitespace().last() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_known_by_its_whole_name() {
        let text = "nodev\tsysfs\nnodev\tfuse.overlay\n\text4\nnodev\tmytmpfs\n";
        assert!(is_known(text, "ext4") && is_known(text, "sysfs"));
        assert!(!is_known(text, "tmpfs") && !is_known(text, "overlay") && !is_known(text, "fs"));
    }
}
