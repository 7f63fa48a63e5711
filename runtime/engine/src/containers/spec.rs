//! From a container's record to the configuration that the runtime core takes.

use std::path::{Path, PathBuf};

use super::create::arguments;
use super::defaults::{CAPABILITIES, PATH, masked_paths};
use super::ids::INIT_PATH;
use super::record::{MountKind, MountPoint, Record};
use super::seccomp::default_profile;
use super::{Engine, Identity, init_layer};
use runtime::bounded;
use runtime::error::{Error, Result};
use runtime::namespace::Kind;
use runtime::oci::{
    Capabilities, ConsoleSize, DeviceRule, Linux, Mount, Namespace, Process, Root, Seccomp, Spec, User,
    example,
};

/// What is known only when the container starts.
#[derive(Debug)]
pub(super) struct Now<'a> {
    /// The merged layers.
    pub(super) rootfs: &'a Path,
    /// Who it runs as.
    pub(super) identity: &'a Identity,
    /// The network namespace to join; absent means one without devices, unless it has the host's.
    pub(super) network: Option<PathBuf>,
    /// The PID namespace to join; absent means one of its own, unless it has the host's.
    pub(super) processes: Option<PathBuf>,
    /// The engine's own program, for a container whose first process it is.
    pub(super) init: PathBuf,
    /// Size of the terminal.
    pub(super) console_size: Option<ConsoleSize>,
}

impl Engine {
    /// The configuration of a container that starts now.
    pub(super) fn spec(&self, record: &Record, now: &Now<'_>) -> Result<Spec> {
        let host = &record.host;
        let mut spec = example();
        let capabilities = capabilities(record)?;
        let on_host = host.network == "host";
        spec.root = Some(Root { path: now.rootfs.to_owned(), readonly: host.read_only });
        spec.hostname = (!host.uts_host && (!on_host || host.hostname.is_some())).then(|| record.hostname());
        spec.domainname = spec.hostname.as_ref().and(host.domainname.clone());
        spec.process = Some(process(record, now, &capabilities));
        spec.mounts = self.spec_mounts(record, now);
        let defaults = spec.linux().into_owned();
        let mut namespaces: Vec<Namespace> = defaults.namespaces;
        namespaces.retain(|namespace| match namespace.kind {
            Kind::Pid => !host.pid_host,
            Kind::Network => !on_host,
            Kind::Uts => !host.uts_host && (!on_host || host.hostname.is_some()),
            Kind::Ipc => !host.ipc_host,
            Kind::Cgroup => !host.cgroupns_host,
            _ => true,
        });
        for namespace in &mut namespaces {
            match namespace.kind {
                Kind::Network => namespace.path.clone_from(&now.network),
                Kind::Pid => namespace.path.clone_from(&now.processes),
                _ => {}
            }
        }
        let mut resources = host.resources.clone();
        let rules = if host.privileged { vec![rule(true)] } else { vec![rule(false)] };
        resources.devices.splice(0..0, rules);
        let mut devices = Vec::new();
        for wanted in &host.devices {
            for (node, rule) in wanted.nodes()? {
                devices.push(node);
                resources.devices.push(rule);
            }
        }
        let mut sysctl = host.sysctls.clone();
        let is_open = host.privileged || host.system_paths_unconfined;
        if record.own_network().is_some() {
            // A container's ports are its own: below 1024 they need no right.
            sysctl.entry("net.ipv4.ip_unprivileged_port_start".into()).or_insert_with(|| "0".into());
        }
        spec.linux = Some(Linux {
            namespaces,
            resources: Some(resources),
            cgroups_path: Some(group_path(record)),
            devices,
            sysctl,
            seccomp: seccomp(record, &capabilities)?,
            masked_paths: if is_open { Vec::new() } else { masked_paths() },
            readonly_paths: if is_open { Vec::new() } else { defaults.readonly_paths },
            rootfs_propagation: propagation(record),
            ..Linux::default()
        });
        Ok(spec)
    }

    fn spec_mounts(&self, record: &Record, now: &Now<'_>) -> Vec<Mount> {
        let host = &record.host;
        let mut mounts = example().mounts;
        for mount in &mut mounts {
            if mount.destination == Path::new("/dev/shm")
                && let Some(size) = host.shm_size
            {
                mount.options.retain(|option| !option.starts_with("size="));
                mount.options.push(format!("size={size}"));
            }
            if host.privileged && mount.destination.starts_with("/sys") {
                mount.options.retain(|option| option != "ro");
            }
        }
        let covered = |path: &Path| record.mounts.iter().any(|mount| mount.destination == path);
        mounts.retain(|mount| !covered(&mount.destination));
        for file in init_layer::FILES {
            let destination = Path::new("/etc").join(file);
            if !covered(&destination) {
                mounts.push(Mount {
                    destination,
                    kind: Some("bind".into()),
                    source: Some(self.own_file(record, file)),
                    options: vec!["bind".into(), "rprivate".into()],
                    ..Mount::default()
                });
            }
        }
        if host.init {
            mounts.push(bound(INIT_PATH.into(), now.init.clone(), "ro"));
        }
        if host.ipc_host && !covered(Path::new("/dev/shm")) {
            mounts.retain(|mount| !matches!(mount.destination.to_str(), Some("/dev/shm" | "/dev/mqueue")));
            mounts.push(bound("/dev/shm".into(), "/dev/shm".into(), "rw"));
            if Path::new("/dev/mqueue").is_dir() {
                mounts.push(bound("/dev/mqueue".into(), "/dev/mqueue".into(), "rw"));
            }
        }
        mounts.extend(record.mounts.iter().map(mount));
        mounts
    }
}

/// What the root needs for a mount that passes on, or takes, what is mounted below it.
fn propagation(record: &Record) -> Option<String> {
    let has = |end: &str| {
        record.mounts.iter().any(|mount| mount.options.iter().any(|option| option.ends_with(end)))
    };
    if has("shared") {
        return Some("rshared".into());
    }
    has("slave").then(|| "rslave".into())
}

fn bound(destination: PathBuf, source: PathBuf, access: &str) -> Mount {
    Mount {
        destination,
        kind: Some("bind".into()),
        source: Some(source),
        options: vec!["bind".into(), "rprivate".into(), access.into()],
        ..Mount::default()
    }
}

/// Its control group: below the caller's own, or in the one that was asked for.
fn group_path(record: &Record) -> PathBuf {
    let name = format!("plim-{}", record.id);
    match &record.host.cgroup_parent {
        Some(parent) => Path::new(parent).join(name),
        None => name.into(),
    }
}

fn mount(point: &MountPoint) -> Mount {
    let mut options = point.options.clone();
    match point.kind {
        MountKind::Tmpfs => {
            if !point.writable {
                options.push("ro".into());
            }
            Mount {
                destination: point.destination.clone(),
                kind: Some("tmpfs".into()),
                source: Some("tmpfs".into()),
                options,
                ..Mount::default()
            }
        }
        MountKind::Bind | MountKind::Volume => {
            options.push("rbind".into());
            if !point.writable && !options.iter().any(|option| option == "rro") {
                options.push("ro".into());
            }
            if !options
                .iter()
                .any(|option| ["private", "slave", "shared"].iter().any(|kind| option.ends_with(kind)))
            {
                options.push("rprivate".into());
            }
            Mount {
                destination: point.destination.clone(),
                kind: Some("bind".into()),
                source: Some(point.source.clone()),
                options,
                ..Mount::default()
            }
        }
    }
}

fn rule(allow: bool) -> DeviceRule {
    DeviceRule { allow, kind: None, major: None, minor: None, access: Some("rwm".into()) }
}

fn process(record: &Record, now: &Now<'_>, capabilities: &[String]) -> Process {
    let host = &record.host;
    let mut env = record.config.env.clone();
    let has = |env: &[String], name: &str| env.iter().any(|entry| entry.starts_with(&format!("{name}=")));
    if !has(&env, "PATH") {
        env.push(PATH.to_owned());
    }
    if !has(&env, "HOSTNAME") {
        env.push(format!("HOSTNAME={}", record.hostname()));
    }
    if !has(&env, "HOME") {
        env.push(format!("HOME={}", now.identity.home));
    }
    if host.tty && !has(&env, "TERM") {
        env.push("TERM=xterm".to_owned());
    }
    let cwd = if record.config.working_dir.is_empty() { "/" } else { &record.config.working_dir };
    Process {
        terminal: host.tty,
        console_size: now.console_size,
        cwd: cwd.into(),
        env,
        args: if host.init {
            let before = [INIT_PATH.to_owned(), "--".to_owned()];
            before.into_iter().chain(arguments(&record.config)).collect()
        } else {
            arguments(&record.config)
        },
        rlimits: host.ulimits.clone(),
        no_new_privileges: host.no_new_privileges,
        capabilities: Some(sets(capabilities, now.identity.uid)),
        oom_score_adj: host.oom_score_adj,
        user: user(now.identity),
        ..Process::default()
    }
}

/// The identity as the specification has it.
pub(super) fn user(identity: &Identity) -> User {
    User { uid: identity.uid, gid: identity.gid, umask: None, additional_gids: identity.groups.clone() }
}

/// Only root gets what is in the bounding set; others can get it by files that grant it.
pub(super) fn sets(capabilities: &[String], uid: u32) -> Capabilities {
    let own = if uid == 0 { capabilities.to_vec() } else { Vec::new() };
    Capabilities {
        bounding: capabilities.to_vec(),
        effective: own.clone(),
        permitted: own,
        ..Capabilities::default()
    }
}

/// The default set with the user's changes.
pub(super) fn capabilities(record: &Record) -> Result<Vec<String>> {
    let host = &record.host;
    let all = || -> Vec<String> {
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
        let last: usize = last.and_then(|text| text.trim().parse().ok()).unwrap_or(40);
        let mut names: Vec<String> = caps::all()
            .into_iter()
            .filter(|cap| usize::from(cap.index()) <= last)
            .map(|cap| cap.to_string())
            .collect();
        names.sort_unstable();
        names
    };
    if host.privileged {
        return Ok(all());
    }
    let full = |name: &str| -> Result<String> {
        let name = name.to_uppercase();
        let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
        if name == "CAP_ALL" || name.parse::<caps::Capability>().is_ok() {
            return Ok(name);
        }
        Err(Error::new(format!("there is no capability '{name}'")).remedy("capabilities(7) lists them"))
    };
    let mut set: Vec<String> = CAPABILITIES.iter().map(|name| (*name).to_owned()).collect();
    let (mut drops, mut adds) = (Vec::new(), Vec::new());
    for name in &host.cap_drop {
        drops.push(full(name)?);
    }
    for name in &host.cap_add {
        adds.push(full(name)?);
    }
    if adds.iter().any(|name| name == "CAP_ALL") {
        set = all();
    }
    if drops.iter().any(|name| name == "CAP_ALL") {
        set.clear();
    }
    set.retain(|name| !drops.contains(name));
    for name in adds {
        if name != "CAP_ALL" && !set.contains(&name) {
            set.push(name);
        }
    }
    Ok(set)
}

fn seccomp(record: &Record, capabilities: &[String]) -> Result<Option<Seccomp>> {
    match record.host.seccomp.as_deref() {
        _ if record.host.privileged => Ok(None),
        None => Ok(Some(default_profile(capabilities))),
        Some("unconfined") => Ok(None),
        Some(path) => {
            let text = bounded::read(Path::new(path), bounded::LARGEST_DOCUMENT)
                .map_err(|error| Error::new(format!("--security-opt seccomp={path}: {error}")))?;
            serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| Error::new(format!("--security-opt seccomp={path}: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::Host;
    use crate::image::{Digest, Execution};

    fn record(host: Host) -> Record {
        Record {
            id: "0123456789abcdef".repeat(4),
            name: "c".into(),
            created: String::new(),
            image: "i".into(),
            image_id: Digest::of(b""),
            manifest: Digest::of(b""),
            layers: Vec::new(),
            config: Execution::default(),
            host,
            mounts: Vec::new(),
            build: false,
        }
    }

    #[test]
    fn capabilities_are_added_and_dropped_in_either_spelling() {
        let host = |add: &[&str], drop: &[&str]| Host {
            cap_add: add.iter().map(|name| (*name).to_owned()).collect(),
            cap_drop: drop.iter().map(|name| (*name).to_owned()).collect(),
            ..Host::default()
        };
        let set = capabilities(&record(host(&["net_admin"], &["CAP_CHOWN"]))).unwrap();
        assert!(set.contains(&"CAP_NET_ADMIN".into()) && !set.contains(&"CAP_CHOWN".into()));
        assert_eq!(capabilities(&record(host(&["KILL"], &["ALL"]))).unwrap(), ["CAP_KILL"]);
        let error = capabilities(&record(host(&["FLY"], &[]))).unwrap_err().to_string();
        assert!(error.contains("CAP_FLY"), "{error}");
    }

    #[test]
    fn only_root_has_effective_ones() {
        let set = vec!["CAP_KILL".to_owned()];
        assert_eq!(sets(&set, 0).effective, set);
        assert_eq!((sets(&set, 1).effective, sets(&set, 1).bounding), (Vec::<String>::new(), set));
    }
}
