//! `plim-runtime features`. Source: OCI runtime-spec, features.md.

use serde_json::json;

use super::shared::{Outcome, print_json};
use crate::cgroup::{Layout, Version};
use crate::namespace::Kind;
use crate::oci::scheduling::MemoryPolicy;
use crate::process::seccomp;

pub(super) fn print() -> Outcome {
    let layout = Layout::detect()?;
    let has = |version| layout.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
    let namespaces: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.is_supported()).collect();
    let mut capabilities: Vec<_> = caps::all().iter().map(ToString::to_string).collect();
    capabilities.sort_unstable();
    print_json(&json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": crate::oci::VERSION,
        "annotations": {
            "io.github.plimsoll.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
        "potentiallyUnsafeConfigAnnotations": [],
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": crate::rootfs::options::WORDS.as_slice(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities,
            "cgroup": { "v1": has(Version::V1), "v2": has(Version::V2), "systemd": false, "systemdUser": false, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": seccomp::ACTIONS,
                "operators": seccomp::OPERATORS,
                "archs": seccomp::architectures(),
                "knownFlags": seccomp::FLAGS,
                "supportedFlags": seccomp::FLAGS,
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "mountExtensions": { "idmap": { "enabled": true } },
            "intelRdt": { "enabled": false },
            "memoryPolicy": { "modes": MemoryPolicy::modes(), "flags": MemoryPolicy::flags() },
            "netDevices": { "enabled": false },
        },
    }))
}
