//! On which terms the application runs. Source: config.md and config-linux.md.

use proptest::prelude::*;
use serde_json::json;

use super::edit::{Edits, at, edit, few, one_of, word};
use crate::area::Area;

/// OOM score, no_new_privs, personality, scheduler, I/O priority.
pub(super) fn terms() -> Edits {
    let scheduler = prop_oneof![
        (word(&["SCHED_OTHER", "SCHED_BATCH"]), one_of(&[0, 1, 5, 19, -5]))
            .prop_map(|(policy, nice)| json!({ "policy": policy, "nice": nice })),
        Just(json!({ "policy": "SCHED_IDLE" })),
        (word(&["SCHED_FIFO", "SCHED_RR"]), one_of(&[1, 10, 99]))
            .prop_map(|(policy, priority)| json!({ "policy": policy, "priority": priority })),
        few(&["SCHED_FLAG_RESET_ON_FORK"], 1)
            .prop_map(|flags| json!({ "policy": "SCHED_BATCH", "flags": flags })),
    ];
    let io = (word(&["IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE", "IOPRIO_CLASS_RT"]), one_of(&[0, 1, 4, 7]))
        .prop_map(|(class, priority)| json!({ "class": class, "priority": priority }));
    let policy =
        word(&["MPOL_INTERLEAVE", "MPOL_BIND"]).prop_map(|mode| json!({ "mode": mode, "nodes": "0" }));
    let affinity = word(&["0", "1", "0-1"]).prop_map(|cpus| json!({ "initial": cpus, "final": cpus }));
    prop_oneof![
        3 => at(Area::Terms, "/process/oomScoreAdj", one_of(&[0, 1, 100, 500, 1000])),
        3 => at(Area::Terms, "/process/noNewPrivileges", any::<bool>()),
        2 => at(Area::Terms, "/linux/personality/domain", word(&["LINUX", "LINUX32"])),
        2 => at(Area::Terms, "/process/scheduler", scheduler),
        2 => at(Area::Terms, "/process/ioPriority", io),
        1 => at(Area::Terms, "/linux/memoryPolicy", policy),
        1 => at(Area::Terms, "/process/execCPUAffinity", affinity),
    ]
    .boxed()
}

/// Host and domain name.
pub(super) fn names() -> Edits {
    const LONGEST: &str = "a234567890b234567890c234567890d234567890e234567890f234567890abcd";
    let name = || word(&["h", "a.b-c", "UPPER", "with space", LONGEST]);
    let both = (name(), name()).prop_map(|(host, domain)| {
        edit(Area::Names, &[("/hostname", host.into()), ("/domainname", domain.into())])
    });
    prop_oneof![at(Area::Names, "/hostname", name()), at(Area::Names, "/domainname", name()), both].boxed()
}
