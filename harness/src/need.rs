//! What must hold for a check to be tried, asked by trying.

use std::path::Path;

use runtime::cgroup::Layout;
use runtime::namespace::Kind;

/// One condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Rights over namespaces, mounts and cgroups.
    Root,
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
}

impl Need {
    /// Why it is not met here, with the remedy; `None` if it is.
    pub fn unmet(self, layout: &Layout) -> Option<String> {
        match self {
            Need::Root => {
                (!nix::unistd::geteuid().is_root()).then(|| "needs root: run it with sudo".to_owned())
            }
            Need::Controller(name) => layout.owner(name).is_none().then(|| {
                format!(
                    "no mounted cgroup hierarchy has the controller '{name}': mount it, or see /proc/cgroups"
                )
            }),
            Need::CpuAccounting => {
                let v2 =
                    layout.owner("cpu").is_some_and(|owner| owner.version == runtime::cgroup::Version::V2);
                (!v2 && layout.owner("cpuacct").is_none()).then(|| {
                    "no mounted cgroup hierarchy accounts CPU time: mount cpuacct or cgroup2".to_owned()
                })
            }
            Need::Freezer => (layout.owner("freezer").is_none() && layout.v2().is_none())
                .then(|| "no cgroup hierarchy has a freezer: mount the v1 freezer or cgroup2".to_owned()),
            Need::Namespace(kind) => (!kind.is_supported())
                .then(|| format!("this kernel has no {} namespaces (CONFIG_NAMESPACES)", kind.file())),
            Need::Filesystem(name) => {
                let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
                let module = || Path::new("/sys/module").join(name).exists();
                (!known.lines().any(|line| line.ends_with(name)) && !module())
                    .then(|| format!("this kernel has no file system '{name}': modprobe {name}"))
            }
        }
    }

    /// The condition in words.
    pub fn describe(self) -> String {
        match self {
            Need::Root => "root".into(),
            Need::Controller(name) => format!("cgroup controller {name}"),
            Need::CpuAccounting => "CPU accounting by cgroup".into(),
            Need::Freezer => "cgroup freezer".into(),
            Need::Namespace(kind) => format!("{} namespaces", kind.file()),
            Need::Filesystem(name) => format!("file system {name}"),
        }
    }
}
