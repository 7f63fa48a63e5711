//! A configuration to start from: what runc's `spec` writes, so that both commands make the same container.

use std::path::{Path, PathBuf};

use super::{
    Capabilities, DeviceRule, IdMapping, Linux, Mount, Namespace, Process, Resources, Rlimit, Root, Spec,
    User, VERSION,
};
use crate::namespace::Kind;

/// A container that runs `sh` on a terminal, with every namespace but the user's and few capabilities.
// long because it is one configuration, in the order of the file that it becomes
pub fn example() -> Spec {
    let capabilities = strings(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let namespace = |kind| Namespace { kind, path: None };
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
    Spec {
        oci_version: VERSION.into(),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        hostname: Some("plim".into()),
        mounts: mounts(),
        process: Some(Process {
            terminal: true,
            user: User::default(),
            args: strings(&["sh"]),
            env: strings(&[
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ]),
            cwd: "/".into(),
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities,
                ..Capabilities::default()
            }),
            rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 1024, hard: 1024 }],
            no_new_privileges: true,
            ..Process::default()
        }),
        linux: Some(Linux {
            resources: Some(Resources {
                devices: vec![DeviceRule {
                    allow: false,
                    kind: None,
                    major: None,
                    minor: None,
                    access: Some("rwm".into()),
                }],
                ..Resources::default()
            }),
            namespaces: [Kind::Pid, Kind::Network, Kind::Ipc, Kind::Uts, Kind::Mount, Kind::Cgroup]
                .into_iter()
                .filter(|kind| kind.is_supported())
                .map(namespace)
                .collect(),
            masked_paths: paths(&[
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ]),
            readonly_paths: paths(&[
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
            ]),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

/// The same for an ordinary user: what he may not do is left out. The caller becomes root of a user namespace.
pub fn rootless_example() -> Spec {
    let mut spec = example();
    let own = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
    for mount in &mut spec.mounts {
        if mount.destination == Path::new("/sys") {
            // A sysfs of its own shows a network namespace, which is the caller's here.
            mount.kind = Some("none".into());
            mount.source = Some("/sys".into());
            mount.options = strings(&["rbind", "nosuid", "noexec", "nodev", "ro"]);
        }
        // No other id is mapped.
        mount.options.retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
    }
    if let Some(linux) = &mut spec.linux {
        linux.namespaces.retain(|namespace| namespace.kind != Kind::Network);
        linux.namespaces.push(Namespace { kind: Kind::User, path: None });
        linux.uid_mappings = own(nix::unistd::geteuid().as_raw());
        linux.gid_mappings = own(nix::unistd::getegid().as_raw());
        linux.resources = None;
    }
    spec
}

fn mounts() -> Vec<Mount> {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(source.into()),
        options: strings(options),
        ..Mount::default()
    };
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{load::parse, validate};

    #[test]
    fn the_one_for_an_ordinary_user_asks_for_no_right() {
        let spec = rootless_example();
        assert!(validate::check(&spec).unwrap().is_empty());
        let linux = spec.linux.unwrap();
        assert!(linux.resources.is_none() && linux.uid_mappings[0].size == 1);
        assert!(!linux.namespaces.iter().any(|namespace| namespace.kind == Kind::Network));
        assert!(
            !spec.mounts.iter().any(|mount| mount.options.iter().any(|option| option.starts_with("gid=")))
        );
    }

    #[test]
    fn the_example_is_free_of_warnings_when_read_back() {
        let text = serde_json::to_string(&example()).unwrap();
        let (spec, warnings) = parse(&text).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert!(validate::check(&spec).unwrap().is_empty());
    }
}
