//! The application: who it is, and what it is given. Source: config.md, Process.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::edit::{Edits, at, edit, few, one_of, some, word};
use crate::area::Area;

const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_NICE",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_PERFMON",
];

/// Capability sets: consistent ones, one set alone, and none at all.
pub(super) fn caps() -> Edits {
    const SETS: &[&str] = &["bounding", "effective", "inheritable", "permitted", "ambient"];
    let consistent =
        (some(CAPABILITIES), any::<[bool; 3]>()).prop_map(|(names, [inherit, ambient, effective])| {
            let none = || json!([]);
            let names = json!(names);
            let if_so = |wanted: bool| if wanted { names.clone() } else { none() };
            let sets = json!({
                "bounding": names,
                "permitted": names,
                "effective": if_so(effective),
                "inheritable": if_so(inherit),
                "ambient": if_so(inherit && ambient),
            });
            edit(Area::Caps, &[("/process/capabilities", sets)])
        });
    let one = (word(SETS), some(CAPABILITIES)).prop_map(|(set, names)| {
        edit(Area::Caps, &[(&format!("/process/capabilities/{set}"), json!(names))])
    });
    let none = Just(edit(Area::Caps, &[("/process/capabilities", Value::Null)]));
    prop_oneof![6 => consistent, 4 => one, 1 => none].boxed()
}

/// Limits of setrlimit(2), below what an ordinary host allows.
pub(super) fn rlimits() -> Edits {
    let limit = (
        word(&[
            "RLIMIT_NOFILE",
            "RLIMIT_CORE",
            "RLIMIT_NPROC",
            "RLIMIT_FSIZE",
            "RLIMIT_MEMLOCK",
            "RLIMIT_STACK",
            "RLIMIT_SIGPENDING",
            "RLIMIT_MSGQUEUE",
            "RLIMIT_CPU",
            "RLIMIT_RTTIME",
            "RLIMIT_LOCKS",
            "RLIMIT_RSS",
            "RLIMIT_NICE",
            "RLIMIT_RTPRIO",
        ]),
        0_u64..4,
    );
    limit
        .prop_map(|(name, less)| {
            // A program needs some of each.
            let hard: u64 = match name.as_str() {
                "RLIMIT_NOFILE" => 512,
                "RLIMIT_NICE" | "RLIMIT_RTPRIO" | "RLIMIT_CORE" => 0,
                "RLIMIT_STACK" | "RLIMIT_FSIZE" | "RLIMIT_RSS" => 8 << 20,
                "RLIMIT_RTTIME" => 1_000_000_000,
                _ => 4096,
            };
            let soft = hard - hard / 8 * less;
            let value = json!({ "type": name, "soft": soft, "hard": hard });
            edit(Area::Rlimits, &[(&format!("/process/rlimits/[type={name}]"), value)])
        })
        .boxed()
}

/// Who it is.
pub(super) fn user() -> Edits {
    let id = || one_of(&[0_u32, 1, 5, 1000, 65_534, 65_535, 100_000]);
    let ids = (id(), id()).prop_map(|(uid, gid)| {
        edit(Area::User, &[("/process/user/uid", uid.into()), ("/process/user/gid", gid.into())])
    });
    prop_oneof![
        4 => ids,
        3 => at(Area::User, "/process/user/additionalGids", vec(id(), 0..5)),
        3 => at(Area::User, "/process/user/umask", one_of(&[0o22_u32, 0, 0o77, 0o777, 0o2])),
    ]
    .boxed()
}

/// Variables: twice, empty, with spaces and signs, without PATH or HOME.
pub(super) fn env() -> Edits {
    let variable = word(&[
        "A=1",
        "A=2",
        "B=",
        "C=a b  c",
        "D=x=y",
        "E=\u{e4}\u{1f6a2}",
        "F=line\nline",
        "HOME=",
        "HOME=/tmp",
        "PATH=",
        "PATH=/none",
        "TERM=dumb",
        "LISTEN_FDS=0",
        "container=x",
        "g.h-i=1",
    ]);
    let added = variable.prop_map(|variable| edit(Area::Env, &[("/process/env/-", variable.into())]));
    let none = Just(edit(Area::Env, &[("/process/env", Value::Null)]));
    prop_oneof![12 => added, 1 => none].boxed()
}

/// Working directories: there, not there, through a link, with dots.
pub(super) fn cwd() -> Edits {
    let places =
        word(&["/tmp", "/etc", "/new", "/new/deeper", "/tmp/..", "/proc/self", "/dev", "//tmp/", "/sys"]);
    at(Area::Cwd, "/process/cwd", places)
}

/// Arguments: more of them, strange ones, a program that is found in PATH.
pub(super) fn args() -> Edits {
    let more = few(&["", " ", "a b", "\u{e9}", "--", "-x", "$PATH", "a\nb"], 4).prop_map(|more| {
        let mut all = vec!["/probe".to_owned(), "serve".to_owned()];
        all.extend(more);
        edit(Area::Args, &[("/process/args", json!(all))])
    });
    let program = word(&["probe", "./probe", "//probe", "/tmp/../probe"])
        .prop_map(|program| edit(Area::Args, &[("/process/args/0", program.into())]));
    prop_oneof![3 => more, 1 => program].boxed()
}
