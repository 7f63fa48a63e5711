//! Nearly valid configurations, which a runtime must refuse, and the sentence by which it must.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::edit::{Edits, edit};
use crate::area::Area;

const ABSOLUTE: &str = "config.md, Process: cwd MUST be an absolute path";
const CREATE: &str = "runtime.md, Create: if the runtime cannot apply a property, it MUST generate an error and a new container MUST NOT be \
                      created";
const ENTRY: &str = "config.md, Process: args has at least one entry";
const RANGE: &str = "config.md, Process: rlimits with duplicated type MUST generate an error";
const SECOND: &str = "config-linux.md, Namespaces: if the namespaces field contains duplicated namespaces with same type, the runtime MUST \
                      generate an error";
/// The specification does not say.
const SILENT: &str = "";
const SYSCTL: &str = "config-linux.md, Sysctl: kernel parameters of the container's namespaces";

/// One of them.
// long because it is one table of configurations
pub(super) fn wrong() -> Edits {
    let all: Vec<(&str, Value, &'static str)> = vec![
        ("/process/cwd", json!("tmp"), ABSOLUTE),
        ("/process/cwd", json!(""), ABSOLUTE),
        ("/process/cwd", json!("/probe"), CREATE),
        ("/process/args", json!([]), ENTRY),
        ("/process/args", json!(["/none"]), CREATE),
        ("/process/args", json!(["/etc"]), CREATE),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]),
            RANGE,
        ),
        ("/process/rlimits/-", json!({ "type": "RLIMIT_TEA", "soft": 1, "hard": 1 }), CREATE),
        ("/process/rlimits/-", json!({ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 32 }), CREATE),
        ("/process/oomScoreAdj", json!(1001), CREATE),
        ("/process/oomScoreAdj", json!(-1001), CREATE),
        ("/process/scheduler", json!({ "policy": "SCHED_TEA" }), CREATE),
        ("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_TEA", "priority": 0 }), CREATE),
        ("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }), CREATE),
        ("/linux/personality", json!({ "domain": "TEA" }), CREATE),
        ("/linux/namespaces/-", json!({ "type": "ipc" }), SECOND),
        ("/linux/namespaces/-", json!({ "type": "tea" }), CREATE),
        ("/linux/namespaces/[type=ipc]/path", json!("/none"), CREATE),
        ("/linux/namespaces/[type=ipc]/path", json!("/proc/self/ns/net"), CREATE),
        ("/linux/namespaces/[type=uts]", Value::Null, CREATE),
        ("/linux/sysctl/kernel.printk_ratelimit", json!("5"), SYSCTL),
        ("/linux/sysctl/net.none", json!("1"), CREATE),
        ("/linux/rootfsPropagation", json!("tea"), CREATE),
        ("/linux/devices/-", json!({ "type": "t", "path": "/dev/tea", "major": 1, "minor": 3 }), CREATE),
        ("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_TEA" }), CREATE),
        (
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_TEA"] }),
            CREATE,
        ),
        ("/linux/resources/cpu", json!({ "shares": 1024, "quota": 1 }), CREATE),
        ("/linux/resources/cpu/cpus", json!("999"), CREATE),
        ("/linux/resources/cpu/cpus", json!("tea"), CREATE),
        ("/linux/resources/hugepageLimits", json!([{ "pageSize": "3MB", "limit": 0 }]), CREATE),
        ("/mounts/-", json!({ "destination": "/mnt", "type": "tea", "source": "tea" }), CREATE),
        (
            "/mounts/-",
            json!({ "destination": "/mnt", "type": "bind", "source": "/none", "options": ["bind"] }),
            CREATE,
        ),
        (
            "/mounts/-",
            json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=tea"] }),
            CREATE,
        ),
        (
            "/root/path",
            json!("none"),
            "config.md, Root: a directory MUST exist at the path declared by the field",
        ),
        ("/ociVersion", json!("7.0.0"), SILENT),
        ("/ociVersion", json!(""), SILENT),
        ("/hostname", json!("a".repeat(65)), CREATE),
    ];
    let edits: Vec<_> = all
        .into_iter()
        .map(|(at, value, by)| {
            let mut wrong = edit(Area::Wrong, &[(at, value)]);
            wrong.refused_by = (!by.is_empty()).then(|| by.to_owned());
            wrong
        })
        .collect();
    proptest::sample::select(edits).boxed()
}
