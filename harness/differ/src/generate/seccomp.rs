//! System call filters, of calls that a snapshot asks about. Source: config-linux.md, Seccomp.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::edit::{Edits, edit, few, one_of, some, word};
use crate::area::Area;

const CALLS: &[&str] = &["mkdirat", "fchmodat", "ptrace", "mount", "sethostname", "getppid", "no_such_call"];

/// A filter that lets through what it does not name.
pub(super) fn seccomp() -> Edits {
    let architectures = some(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    (
        word(&["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"]),
        architectures,
        vec(prop_oneof![by_name(), by_argument()], 0..4),
        few(&["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"], 2),
    )
        .prop_map(|(default, architectures, rules, flags)| {
            let mut filter = json!({ "defaultAction": default, "syscalls": rules });
            if !architectures.is_empty() {
                filter["architectures"] = json!(architectures);
            }
            if !flags.is_empty() {
                filter["flags"] = json!(flags);
            }
            edit(Area::Seccomp, &[("/linux/seccomp", filter)])
        })
        .boxed()
}

/// What a rule does that a probe may meet itself: it must live.
fn mild() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => one_of(&[1_u32, 18, 38]).prop_map(|errno| json!({ "action": "SCMP_ACT_ERRNO", "errnoRet": errno })),
        1 => Just(json!({ "action": "SCMP_ACT_ERRNO" })),
        1 => Just(json!({ "action": "SCMP_ACT_ALLOW" })),
    ]
}

fn action() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => one_of(&[None, Some(1_u32), Some(18), Some(38), Some(0)]).prop_map(|errno| match errno {
            Some(errno) => json!({ "action": "SCMP_ACT_ERRNO", "errnoRet": errno }),
            None => json!({ "action": "SCMP_ACT_ERRNO" }),
        }),
        1 => Just(json!({ "action": "SCMP_ACT_KILL_PROCESS" })),
        1 => Just(json!({ "action": "SCMP_ACT_KILL" })),
        1 => Just(json!({ "action": "SCMP_ACT_TRAP" })),
        1 => Just(json!({ "action": "SCMP_ACT_ALLOW" })),
    ]
}

fn by_name() -> impl Strategy<Value = Value> {
    (action(), few(CALLS, 3)).prop_map(|(mut rule, mut names)| {
        if names.is_empty() {
            names.push("ptrace".to_owned());
        }
        rule["names"] = json!(names);
        rule
    })
}

fn by_argument() -> impl Strategy<Value = Value> {
    let call =
        prop_oneof![(Just("socket"), one_of(&[2_u64, 16, 40])), (Just("personality"), one_of(&[0_u64, 8])),];
    let comparison = word(&[
        "SCMP_CMP_EQ",
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    ]);
    (mild(), call, comparison).prop_map(|(mut rule, (name, value), op)| {
        let mut argument = json!({ "index": 0, "value": value, "op": op });
        if op == "SCMP_CMP_MASKED_EQ" {
            argument["valueTwo"] = value.into();
        }
        rule["names"] = json!([name]);
        rule["args"] = json!([argument]);
        rule
    })
}
