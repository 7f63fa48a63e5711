//! Mounts, with every option that the kernel knows, and the root. Source: config.md, Mounts; mount(8).

use proptest::prelude::*;
use serde_json::{Value, json};

use super::edit::{Edits, at, edit, few, word};
use crate::area::Area;
use crate::document::BUNDLE;

const FLAGS: &[&str] = &[
    "ro",
    "nosuid",
    "nodev",
    "noexec",
    "noatime",
    "nodiratime",
    "relatime",
    "strictatime",
    "nosymfollow",
    "sync",
    "dirsync",
    "rw",
    "suid",
    "dev",
    "exec",
    "norelatime",
];

const RECURSIVE: &[&str] = &["rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rrelatime", "rstrictatime"];

const PROPAGATION: &[&str] =
    &["rprivate", "private", "rslave", "slave", "rshared", "shared", "runbindable", "unbindable"];

/// Where something is mounted: there, not there, below another mount, on a file, twice the same.
const PLACES: &[&str] = &[
    "/data",
    "/data/below",
    "/data",
    "/tmp",
    "/mnt",
    "/mnt/a/b",
    "/tmp/deep",
    "/dev/own",
    "/etc",
    "//mnt/",
    "/mnt/../mnt",
    "/dev/shm",
];

/// Any mount.
pub(super) fn mounts() -> Edits {
    let added =
        prop_oneof![4 => tmpfs(), 5 => bind(), 2 => propagated(), 1 => idmapped(), 2 => of_the_kernel()];
    let added = added.prop_map(|mount| edit(Area::Mounts, &[("/mounts/-", mount)]));
    prop_oneof![8 => added, 3 => usual_ones()].boxed()
}

fn tmpfs() -> impl Strategy<Value = Value> {
    let own = few(&["size=1m", "mode=700", "mode=1777", "uid=5", "gid=7", "nr_inodes=64"], 3);
    (word(PLACES), few(FLAGS, 4), own, few(PROPAGATION, 1), few(&["tmpcopyup"], 1)).prop_map(
        |(place, flags, own, propagation, copied)| {
            let options: Vec<String> = [flags, own, propagation, copied].concat();
            json!({ "destination": place, "type": "tmpfs", "source": "tmpfs", "options": options })
        },
    )
}

fn bind() -> impl Strategy<Value = Value> {
    let source = word(&["directory", "directory/inner", "file", "link-to-directory", "link-to-file", "/dev"]);
    (source, word(PLACES), word(&["rbind", "bind"]), few(FLAGS, 4), few(RECURSIVE, 2), few(PROPAGATION, 1))
        .prop_map(|(source, place, kind, flags, recursive, propagation)| {
            let options: Vec<String> = [vec![kind], flags, recursive, propagation].concat();
            // A file is bound where no directory stands.
            let place = if source.ends_with("file") {
                format!("{}/a-file", place.trim_end_matches('/'))
            } else {
                place
            };
            // /dev has mounts below it; the others are volumes.
            let source = if source == "/dev" { source } else { format!("{BUNDLE}/volumes/{source}") };
            json!({ "destination": place, "type": "bind", "source": source, "options": options })
        })
}

/// A volume that is named by its propagation, from a source that may be relative to the bundle.
fn propagated() -> impl Strategy<Value = Value> {
    let source =
        prop_oneof![Just(format!("{BUNDLE}/volumes/directory")), Just("volumes/directory".to_owned())];
    (source, word(&["rbind", "bind"]), word(PROPAGATION)).prop_map(|(source, kind, propagation)| {
        let place = format!("/data-{propagation}");
        json!({ "destination": place, "type": "bind", "source": source, "options": [kind, propagation] })
    })
}

/// A volume whose files have other owners inside.
fn idmapped() -> impl Strategy<Value = Value> {
    let first = super::edit::one_of(&[100_000_u32, 1000]);
    (first, super::edit::one_of(&[65_536_u32, 1])).prop_map(|(first, size)| {
        let map = json!([{ "containerID": 0, "hostID": first, "size": size }]);
        json!({
            "destination": "/data",
            "type": "bind",
            "source": format!("{BUNDLE}/volumes/directory"),
            "options": ["rbind"],
            "uidMappings": map,
            "gidMappings": map,
        })
    })
}

fn of_the_kernel() -> impl Strategy<Value = Value> {
    let kinds = prop_oneof![
        Just(("mqueue", "/mnt/queue")),
        Just(("proc", "/mnt/proc")),
        Just(("sysfs", "/mnt/sys")),
        Just(("cgroup", "/mnt/cgroup")),
        Just(("devpts", "/mnt/pts")),
    ];
    (kinds, few(FLAGS, 3)).prop_map(|((kind, place), flags)| {
        json!({ "destination": place, "type": kind, "source": kind, "options": flags })
    })
}

/// The usual mounts, with other options or left out.
fn usual_ones() -> impl Strategy<Value = crate::case::Edit> {
    let changed = (
        word(&["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"]),
        few(FLAGS, 4),
    )
        .prop_map(|(place, flags)| {
            edit(Area::Mounts, &[(&format!("/mounts/[destination={place}]/options"), json!(flags))])
        });
    let left_out = word(&["/dev/mqueue", "/dev/shm", "/sys/fs/cgroup", "/dev/pts", "/sys"])
        .prop_map(|place| edit(Area::Mounts, &[(&format!("/mounts/[destination={place}]"), Value::Null)]));
    prop_oneof![changed, left_out]
}

/// The root: read-only, and its propagation.
pub(super) fn root() -> Edits {
    prop_oneof![
        at(Area::Root, "/root/readonly", any::<bool>()),
        at(Area::Root, "/linux/rootfsPropagation", word(PROPAGATION)),
    ]
    .boxed()
}
