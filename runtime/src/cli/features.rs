//! `plim-runtime features`. Source: OCI runtime-spec, features.md.

use std::collections::BTreeMap;

use serde::Serialize;

use super::shared::{Outcome, print_json};
use crate::cgroup::{Layout, Version};
use crate::namespace::Kind;
use crate::oci::scheduling::MemoryPolicy;
use crate::process::seccomp;

/// What the runtime supports. Fields mean what features.md says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    annotations: BTreeMap<&'static str, &'static str>,
    potentially_unsafe_config_annotations: [&'static str; 0],
    hooks: [&'static str; 6],
    mount_options: &'static [&'static str],
    linux: Linux,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<Kind>,
    capabilities: Vec<String>,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    mount_extensions: MountExtensions,
    intel_rdt: Enabled,
    memory_policy: Policies,
    net_devices: Enabled,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: &'static [&'static str],
    operators: &'static [&'static str],
    archs: &'static [&'static str],
    known_flags: &'static [&'static str],
    supported_flags: &'static [&'static str],
}

#[derive(Debug, Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Debug, Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[derive(Debug, Serialize)]
struct Policies {
    modes: Vec<&'static str>,
    flags: Vec<&'static str>,
}

pub(super) fn print() -> Outcome {
    let layout = Layout::detect()?;
    print_json(&Features {
        oci_version_min: "1.0.0",
        oci_version_max: crate::oci::VERSION,
        annotations: BTreeMap::from([
            ("io.github.plimsoll.version", env!("CARGO_PKG_VERSION")),
            ("org.opencontainers.runc.checkpoint.enabled", "false"),
        ]),
        potentially_unsafe_config_annotations: [],
        hooks: ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        mount_options: &crate::rootfs::options::WORDS,
        linux: linux(&layout),
    })
}

fn linux(layout: &Layout) -> Linux {
    let has = |version| layout.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
    let mut capabilities: Vec<_> = caps::all().iter().map(ToString::to_string).collect();
    capabilities.sort_unstable();
    Linux {
        namespaces: Kind::ALL.into_iter().filter(|kind| kind.is_supported()).collect(),
        capabilities,
        cgroup: Cgroup {
            v1: has(Version::V1),
            v2: has(Version::V2),
            systemd: false,
            systemd_user: false,
            rdma: true,
        },
        seccomp: Seccomp {
            enabled: true,
            actions: seccomp::ACTIONS,
            operators: seccomp::OPERATORS,
            archs: seccomp::architectures(),
            known_flags: seccomp::FLAGS,
            supported_flags: seccomp::FLAGS,
        },
        apparmor: Enabled { enabled: true },
        selinux: Enabled { enabled: true },
        mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
        intel_rdt: Enabled { enabled: false },
        memory_policy: Policies { modes: MemoryPolicy::modes(), flags: MemoryPolicy::flags() },
        net_devices: Enabled { enabled: true },
    }
}
