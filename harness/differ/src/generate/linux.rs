//! Masked and read-only paths, kernel parameters, devices. Source: config-linux.md.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::edit::{Edits, at, edit, few, one_of, some, word};
use crate::area::Area;

/// Masked and read-only paths: files, directories, what is not there, links, what is mounted.
pub(super) fn paths() -> Edits {
    const PLACES: &[&str] = &[
        "/etc",
        "/etc/passwd",
        "/none",
        "/none/deeper",
        "/proc/kcore",
        "/proc/sys",
        "/proc/timer_list",
        "/sys/firmware",
        "/tmp",
        "/dev/null",
        "/probe/below-a-file",
        "/link",
    ];
    prop_oneof![
        at(Area::Paths, "/linux/maskedPaths", some(PLACES)),
        at(Area::Paths, "/linux/readonlyPaths", some(PLACES)),
        at(Area::Paths, "/linux/maskedPaths/-", word(PLACES)),
        at(Area::Paths, "/linux/readonlyPaths/-", word(PLACES)),
    ]
    .boxed()
}

/// Kernel parameters of the container's own namespaces.
pub(super) fn sysctl() -> Edits {
    let one = prop_oneof![
        Just(("net.ipv4.ip_forward", "1")),
        Just(("net.ipv4.ip_unprivileged_port_start", "0")),
        Just(("net.ipv4.ping_group_range", "0 0")),
        Just(("net.core.somaxconn", "64")),
        Just(("net.ipv6.conf.all.disable_ipv6", "1")),
        Just(("net/ipv4/tcp_keepalive_time", "600")),
        Just(("kernel.shmmax", "1048576")),
        Just(("kernel.msgmax", "4096")),
        Just(("kernel.sem", "100 3200 50 64")),
        Just(("kernel.shm_rmid_forced", "1")),
        Just(("fs.mqueue.msg_max", "20")),
        Just(("kernel.domainname", "by-sysctl")),
    ];
    one.prop_map(|(name, value)| {
        edit(Area::Sysctl, &[(&format!("/linux/sysctl/{}", name.replace('/', "~1")), value.into())])
    })
    .boxed()
}

/// Device nodes, also over the usual ones, and rules of access.
pub(super) fn devices() -> Edits {
    let kinds = prop_oneof![
        Just(("c", Some((1, 3)))),
        Just(("c", Some((1, 5)))),
        Just(("u", Some((1, 7)))),
        Just(("b", Some((7, 0)))),
        Just(("p", None)),
    ];
    let node = (
        kinds,
        word(&["/dev/own-device", "/dev/deep/er", "/dev/null", "/etc/device", "/dev/fuse", "/dev/console"]),
        one_of(&[None, Some(0o600_u32), Some(0o666), Some(0o4755), Some(0)]),
        one_of(&[None, Some(0_u32), Some(1000)]),
    )
        .prop_map(|((kind, numbers), path, mode, owner)| {
            let mut device = json!({ "type": kind, "path": path });
            if let Some((major, minor)) = numbers {
                device["major"] = major.into();
                device["minor"] = minor.into();
            }
            if let Some(mode) = mode {
                device["fileMode"] = mode.into();
            }
            if let Some(owner) = owner {
                device["uid"] = owner.into();
                device["gid"] = owner.into();
            }
            edit(Area::Devices, &[("/linux/devices/-", device)])
        });
    let rule = (
        any::<bool>(),
        few(&["c", "b", "a"], 1),
        one_of(&[None, Some(1_i64), Some(7), Some(5)]),
        one_of(&[None, Some(3_i64), Some(5)]),
        word(&["rwm", "r", "w", "rw", "m"]),
    )
        .prop_map(|(allow, kind, major, minor, access)| {
            let mut rule = json!({ "allow": allow, "access": access });
            if let Some(kind) = kind.first() {
                rule["type"] = kind.as_str().into();
            }
            if let Some(major) = major {
                rule["major"] = major.into();
            }
            if let Some(minor) = minor {
                rule["minor"] = minor.into();
            }
            edit(Area::Devices, &[("/linux/resources/devices/-", rule)])
        });
    let none = Just(edit(Area::Devices, &[("/linux/resources/devices", Value::Null)]));
    prop_oneof![4 => node, 3 => rule, 1 => none].boxed()
}
