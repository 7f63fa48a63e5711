//! `plim-runtime features`. Source: OCI runtime-spec, features.md.

use serde_json::json;

use super::{Outcome, print_json};
use crate::cgroup::{Layout, Version};
use crate::namespace::Kind;

pub(super) fn print() -> Outcome {
    let layout = Layout::detect()?;
    let has = |version| layout.hierarchies.iter().any(|hierarchy| hierarchy.version == version);
    let namespaces: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.is_supported()).collect();
    let mut capabilities: Vec<_> = caps::all().iter().map(ToString::to_string).collect();
    capabilities.sort_unstable();
    print_json(&json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": crate::oci::VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": crate::rootfs::options::WORDS.as_slice(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities,
            "cgroup": { "v1": has(Version::V1), "v2": has(Version::V2), "systemd": false, "systemdUser": false },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
                ],
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "mountExtensions": { "idmap": { "enabled": true } },
            "intelRdt": { "enabled": false },
        },
    }))
}
