//! Namespaces: made, left out, joined by path. Source: config-linux.md, Namespaces.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::edit::{Edits, edit, one_of, word};
use crate::area::Area;
use crate::document::HOST;

/// Namespaces but the user's.
pub(super) fn namespaces() -> Edits {
    let left_out = word(&["ipc", "network", "uts", "cgroup", "pid"]).prop_map(|kind| {
        let mut set = vec![(format!("/linux/namespaces/[type={kind}]"), Value::Null)];
        if kind == "uts" {
            set.push(("/hostname".into(), Value::Null));
        }
        crate::case::Edit { area: Area::Namespaces, set, refused_by: None }
    });
    let joined = word(&["ipc", "network", "uts", "cgroup"]).prop_map(|kind| {
        let file = if kind == "network" { "net" } else { kind.as_str() };
        let path = format!("/proc/{HOST}/ns/{file}");
        let mut set = vec![(format!("/linux/namespaces/[type={kind}]/path"), Value::from(path))];
        if kind == "uts" {
            set.push(("/hostname".into(), Value::Null));
        }
        crate::case::Edit { area: Area::Namespaces, set, refused_by: None }
    });
    let seconds = || one_of(&[0_i64, 1, -1, 3600, 1_000_000]);
    let time =
        (seconds(), seconds(), one_of(&[0_u32, 1, 999_999_999])).prop_map(|(monotonic, boottime, nanos)| {
            let offsets = json!({
                "monotonic": { "secs": monotonic, "nanosecs": nanos },
                "boottime": { "secs": boottime, "nanosecs": 0 },
            });
            edit(
                Area::Namespaces,
                &[
                    ("/linux/namespaces/[type=time]", json!({ "type": "time" })),
                    ("/linux/timeOffsets", offsets),
                ],
            )
        });
    prop_oneof![4 => left_out, 3 => joined, 2 => time].boxed()
}

/// A user namespace, with the root mapped or not, and several ranges.
pub(super) fn users() -> Edits {
    let first = one_of(&[100_000_u32, 1_000, 0, 2_000_000]);
    let ranges = one_of(&[1_u32, 2, 5]);
    (first, ranges, one_of(&[65_536_u32, 10])).prop_map(|(first, ranges, size)| {
        let map: Vec<Value> = (0..ranges)
            .map(|number| json!({ "containerID": number * size, "hostID": first + number * size * 2, "size": size }))
            .collect();
        edit(
            Area::Users,
            &[
                ("/linux/namespaces/[type=user]", json!({ "type": "user" })),
                ("/linux/uidMappings", json!(map)),
                ("/linux/gidMappings", json!(map)),
            ],
        )
    })
    .boxed()
}
