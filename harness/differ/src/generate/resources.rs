//! Limits of groups. Source: config-linux.md, Control groups.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::edit::{Edits, at, edit, one_of, word};
use crate::area::Area;

/// Smallest limit of memory that a probe lives with.
const LEAST: i64 = 96 << 20;

/// Limits of memory.
pub(super) fn memory() -> Edits {
    at(Area::Memory, "/linux/resources/memory", memory_values())
}

/// The object `memory`.
pub(super) fn memory_values() -> impl Strategy<Value = Value> {
    let bytes = || one_of(&[LEAST, LEAST + 1, LEAST * 2, -1]);
    prop_oneof![
        3 => bytes().prop_map(|limit| json!({ "limit": limit })),
        1 => (bytes(), bytes()).prop_map(|(limit, reservation)| json!({ "limit": limit, "reservation": reservation })),
        1 => bytes().prop_map(|limit| json!({ "limit": limit, "swap": limit })),
        1 => one_of(&[0_u64, 1, 60, 100]).prop_map(|swappiness| json!({ "swappiness": swappiness })),
        1 => any::<bool>().prop_map(|disabled| json!({ "limit": LEAST, "disableOOMKiller": disabled })),
        1 => bytes().prop_map(|limit| json!({ "kernelTCP": limit })),
        1 => any::<bool>().prop_map(|checked| json!({ "limit": LEAST, "checkBeforeUpdate": checked })),
    ]
}

/// Limits of CPU time, and CPUs.
pub(super) fn cpu() -> Edits {
    at(Area::Cpu, "/linux/resources/cpu", cpu_values())
}

/// The object `cpu`.
pub(super) fn cpu_values() -> impl Strategy<Value = Value> {
    let quota = || one_of(&[-1_i64, 50_000, 100_000, 200_000]);
    prop_oneof![
        3 => one_of(&[2_u64, 256, 1024, 4096, 262_144, 0]).prop_map(|shares| json!({ "shares": shares })),
        2 => (quota(), one_of(&[100_000_u64, 50_000, 1_000_000]))
            .prop_map(|(quota, period)| json!({ "quota": quota, "period": period })),
        1 => quota().prop_map(|quota| json!({ "quota": quota })),
        1 => one_of(&[50_000_u64, 0]).prop_map(|period| json!({ "period": period })),
        1 => one_of(&[0_u64, 10_000]).prop_map(|burst| json!({ "quota": 50_000, "period": 100_000, "burst": burst })),
        2 => word(&["0", "0-1", "0,1", "1"]).prop_map(|cpus| json!({ "cpus": cpus })),
        1 => word(&["0"]).prop_map(|mems| json!({ "mems": mems })),
        1 => one_of(&[0, 1]).prop_map(|idle| json!({ "idle": idle })),
    ]
}

/// Limits of tasks, of huge pages and of block I/O.
pub(super) fn pids() -> Edits {
    prop_oneof![
        4 => at(Area::Pids, "/linux/resources/pids/limit", one_of(&[64_i64, 32, 1024, -1, 0])),
        1 => one_of(&[0_u64, 2 << 20]).prop_map(|limit| edit(
            Area::Pids,
            &[("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": limit }]))]
        )),
        1 => one_of(&[10_u16, 500, 1000])
            .prop_map(|weight| edit(Area::Pids, &[("/linux/resources/blockIO/weight", weight.into())])),
        1 => one_of(&[1_u64 << 20, 4096]).prop_map(|rate| edit(
            Area::Pids,
            &[(
                "/linux/resources/blockIO/throttleReadBpsDevice",
                json!([{ "major": 254, "minor": 0, "rate": rate }])
            )]
        )),
        1 => (any::<bool>(), one_of(&[100_u64, 4096])).prop_map(|(reads, rate)| {
            let name = if reads { "throttleReadIOPSDevice" } else { "throttleWriteIOPSDevice" };
            let rates = json!([{ "major": 254, "minor": 0, "rate": rate }]);
            edit(Area::Pids, &[(&format!("/linux/resources/blockIO/{name}"), rates)])
        }),
        1 => one_of(&["cpu.weight", "memory.high"]).prop_map(|name| {
            edit(Area::Pids, &[(&format!("/linux/resources/unified/{name}"), "100".into())])
        }),
    ]
    .boxed()
}

/// What `update` is given.
pub(super) fn update() -> impl Strategy<Value = Value> {
    prop_oneof![
        memory_values().prop_map(|memory| json!({ "memory": memory })),
        cpu_values().prop_map(|cpu| json!({ "cpu": cpu })),
        one_of(&[64_i64, -1, 0, 33]).prop_map(|limit| json!({ "pids": { "limit": limit } })),
    ]
}
