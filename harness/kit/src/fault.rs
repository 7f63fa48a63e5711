//! Faults: ways to break a subject, or what a check sets up itself, on purpose. A check that passes under its faults proves
//! nothing.

use std::path::Path;

use runtime::namespace::Kind;
use runtime::oci::{Mount, Spec};

use crate::engine::{After, Before, Hook, Retell};

/// One way to break things.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Its name, in words.
    pub name: &'static str,
    /// What it does.
    pub kind: FaultKind,
}

impl Fault {
    /// What it does to an engine's commands.
    pub fn hook(&self) -> Option<Hook> {
        match self.kind {
            FaultKind::Before(before) => Some(Hook::Before(before)),
            FaultKind::After(after) => Some(Hook::After(after)),
            FaultKind::Answer(retell) => Some(Hook::Answer(retell)),
            _ => None,
        }
    }
}

/// What a fault does.
#[derive(Debug, Clone, Copy)]
pub enum FaultKind {
    /// The subject gets another configuration than the check asked for.
    Config(fn(&mut Spec)),
    /// The subject's `exec` joins all namespaces but this one.
    ExecSkips(Kind),
    /// The subject's `exec` leaves the process in the caller's cgroups.
    ExecOutsideCgroups,
    /// The subject's `pause` says that it paused, and does nothing.
    PauseDropped,
    /// The subject's `delete` leaves the cgroups.
    CleanupSkipped,
    /// The subject puts every container into the first one's memory cgroup.
    GroupShared,
    /// The subject's `exec` joins everything, and keeps the caller's capabilities and filters.
    ExecKeepsPrivilege,
    /// The subject says that a command of this name worked, and does nothing.
    Pretends(&'static str),
    /// The subject hands a descriptor of its own, of this path, to the application.
    LeaksDescriptor(&'static str),
    /// The subject's `exec` does other than its options say: they are changed, with a directory for files at hand.
    ExecOptions(fn(&Path, &mut Vec<String>) -> std::io::Result<()>),
    /// The subject's `run` is given this flag.
    RunFlag(&'static str),
    /// The subject leaves the application out of this controller's group.
    SkipsController(&'static str),
    /// Before each command of an engine something is done, and perhaps the command is another, or none.
    Before(Before),
    /// After each command of an engine something is done.
    After(After),
    /// What a command of an engine said is changed.
    Answer(Retell),
    /// What the check sets up itself is set up wrongly; the check says how, by the fault's name.
    Fixture,
}

impl FaultKind {
    /// Whether a helper of ours takes the place of the subject's `exec`.
    pub(crate) fn replaces_exec(&self) -> bool {
        matches!(self, Self::ExecSkips(_) | Self::ExecOutsideCgroups | Self::ExecKeepsPrivilege)
    }
}

/// The CPU quota never reaches the kernel.
pub const QUOTA_NOT_WRITTEN: Fault = config("quota not written", |spec| {
    if let Some(cpu) = resources(spec).cpu.as_mut() {
        cpu.quota = None;
        cpu.period = None;
    }
});

/// Memory limits never reach the kernel.
pub const MEMORY_LIMIT_NOT_WRITTEN: Fault = config("limit not written", |spec| resources(spec).memory = None);

/// The task limit never reaches the kernel.
pub const PIDS_LIMIT_NOT_WRITTEN: Fault = config("limit not written", |spec| resources(spec).pids = None);

/// Every group weighs the same.
pub const EQUAL_WEIGHTS: Fault = config("equal weights", |spec| {
    let resources = resources(spec);
    if let Some(cpu) = resources.cpu.as_mut() {
        cpu.shares = None;
    }
    resources.unified.remove("cpu.weight");
});

/// No PID namespace.
pub const NO_PID_NAMESPACE: Fault = config("no PID namespace", |spec| drop_namespace(spec, Kind::Pid));

/// No UTS namespace: the name that is set is the host's.
pub const NO_UTS_NAMESPACE: Fault = config("no UTS namespace", |spec| {
    spec.hostname = None;
    drop_namespace(spec, Kind::Uts);
});

/// The host's network.
pub const HOST_NETWORK: Fault = config("host network", |spec| drop_namespace(spec, Kind::Network));

/// One namespace flag is lost.
pub const FLAG_DROPPED: Fault = config("one flag dropped", |spec| drop_namespace(spec, Kind::Ipc));

/// The host's /proc instead of the container's own.
pub const HOST_PROC: Fault = config("host /proc bound in", |spec| {
    if let Some(proc) = spec.mounts.iter_mut().find(|mount| mount.destination.as_os_str() == "/proc") {
        *proc = bind("/proc", "/proc", "rbind");
    }
    // They would be hidden from the host's own /proc too.
    let linux = spec.linux.get_or_insert_default();
    linux.masked_paths.clear();
    linux.readonly_paths.clear();
});

/// No IPC namespace.
pub const NO_IPC_NAMESPACE: Fault = config("no IPC namespace", |spec| drop_namespace(spec, Kind::Ipc));

/// No cgroup namespace.
pub const NO_CGROUP_NAMESPACE: Fault =
    config("no cgroup namespace", |spec| drop_namespace(spec, Kind::Cgroup));

/// No user namespace: root inside is root outside.
pub const NO_USER_NAMESPACE: Fault = config("no user namespace", |spec| {
    drop_namespace(spec, Kind::User);
    let linux = spec.linux.get_or_insert_default();
    linux.uid_mappings.clear();
    linux.gid_mappings.clear();
});

/// A limit that was changed later stays as it was.
pub const UPDATE_DROPPED: Fault = Fault { name: "update dropped", kind: FaultKind::Pretends("update") };

/// Mounts made in a volume spread to the host.
pub const VOLUME_SHARED: Fault = config("volume left shared", |spec| propagate(spec, "rshared", "shared"));

/// Mounts made by the host spread into a volume.
pub const VOLUME_SLAVE: Fault = config("volume left slave", |spec| propagate(spec, "rslave", "slave"));

/// The host's root can still be reached.
pub const OLD_ROOT_LEFT: Fault =
    config("old root left mounted", |spec| spec.mounts.push(bind("/", "/.old-root", "rbind")));

/// A directory of the host's in the place of the image's.
pub const HOST_ETC: Fault =
    config("the host's /etc over the image's", |spec| spec.mounts.push(bind("/etc", "/etc", "rbind")));

/// A volume is no mount, but a directory of the container.
pub const VOLUME_COPIED_IN: Fault = config("volume copied in", |spec| {
    spec.mounts.retain(|mount| !matches!(mount.destination.to_str(), Some("/data" | "/scratch")));
});

/// A fault in what the subject is asked for.
pub const fn config(name: &'static str, edit: fn(&mut Spec)) -> Fault {
    Fault { name, kind: FaultKind::Config(edit) }
}

/// A fault before the commands of an engine.
pub const fn before(name: &'static str, hook: Before) -> Fault {
    Fault { name, kind: FaultKind::Before(hook) }
}

/// A fault after the commands of an engine.
pub const fn after(name: &'static str, hook: After) -> Fault {
    Fault { name, kind: FaultKind::After(hook) }
}

/// A fault in what the commands of an engine say.
pub const fn answer(name: &'static str, retell: Retell) -> Fault {
    Fault { name, kind: FaultKind::Answer(retell) }
}

/// A fault in what a check sets up itself, on its fixture.
pub const fn in_fixture(name: &'static str) -> Fault {
    Fault { name, kind: FaultKind::Fixture }
}

/// The resources of a configuration.
pub fn resources(spec: &mut Spec) -> &mut runtime::oci::Resources {
    spec.linux.get_or_insert_default().resources.get_or_insert_default()
}

fn drop_namespace(spec: &mut Spec, kind: Kind) {
    spec.linux.get_or_insert_default().namespaces.retain(|namespace| namespace.kind != kind);
}

/// A bind mount.
pub fn bind(source: &str, destination: &str, option: &str) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some("bind".into()),
        source: Some(source.into()),
        options: vec![option.into()],
        ..Mount::default()
    }
}

fn propagate(spec: &mut Spec, volume: &str, root: &str) {
    for mount in &mut spec.mounts {
        for option in mount.options.iter_mut().filter(|option| *option == "rprivate") {
            *option = volume.into();
        }
    }
    spec.linux.get_or_insert_default().rootfs_propagation = Some(root.into());
}
