//! What other users of the host can see of an engine: nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

mod common;

use common::Shop;

/// What another user makes of a path, asked by a program that has become one.
fn seen_by_nobody(path: &Path) -> bool {
    let status = Command::new("/bin/busybox")
        .args(["test", "-r"])
        .arg(path)
        .uid(65534)
        .gid(65534)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    status.success()
}

fn closed(dir: &Path) {
    let mode = fs::metadata(dir).unwrap().mode() & 0o777;
    assert_eq!(mode & 0o067, 0, "{} has mode {mode:o}", dir.display());
}

#[test]
fn roots_are_closed_to_other_users_and_old_ones_are_tightened() {
    let Some(shop) = Shop::open("rights") else { return };
    // The test's own directory is open, as a host's /var/lib is.
    fs::set_permissions(shop.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(shop.path("open"), "x").unwrap();
    assert!(seen_by_nobody(&shop.path("open")), "the control: what is open is seen");
    let id = shop.plim(&[
        "run",
        "-d",
        "--name",
        "one",
        "--network",
        "none",
        "-e",
        "PASSWORD=secret",
        "-v",
        "kept:/kept",
        "box",
        "sh",
        "-c",
        "busybox cp /bin/busybox /suid; busybox chmod 4755 /suid; echo said; exec sleep 1000",
    ]);
    while shop.plim(&["logs", "one"]) != "said" {
        std::thread::yield_now();
    }
    let container = shop.path("data/containers").join(&id);
    let state = shop.path("data/run").join(&id);
    for dir in
        ["data", "data/run", "data/containers", "data/volumes", "data/layers", "data/blobs", "data/tmp"]
    {
        closed(&shop.path(dir));
    }
    closed(&container);
    closed(&state);
    for file in [
        container.join("record.json"),
        container.join("state.json"),
        container.join("log"),
        container.join("lock"),
        state.join("state.json"),
        shop.path("data/index.json"),
        shop.path("data/volumes/kept/volume.json"),
    ] {
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{}", file.display());
    }
    for entry in fs::read_dir(shop.path("data/blobs/sha256")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
    let suid = container.join("upper/suid");
    assert!(fs::metadata(&suid).unwrap().mode() & 0o4000 != 0);
    assert!(!seen_by_nobody(&suid) && !seen_by_nobody(&container.join("record.json")));
    // In the container every user reads what is everybody's.
    assert_eq!(shop.plim(&["exec", "-u", "7", "one", "cat", "/etc/hostname"]), id[..12]);
    shop.plim(&["exec", "-u", "7", "one", "sh", "-c", "cat /etc/hosts /etc/resolv.conf; ls /kept; ls /"]);
    shop.plim(&["rm", "-f", "one"]);
    for dir in ["data", "data/run", "data/containers"] {
        fs::set_permissions(shop.path(dir), fs::Permissions::from_mode(0o755)).unwrap();
    }
    shop.plim(&["images"]);
    for dir in ["data", "data/run", "data/containers"] {
        closed(&shop.path(dir));
    }
    // A directory that holds other things is not shut to those who use it.
    let shared = shop.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("other"), "x").unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    shop.plim(&["--data-root", shared.to_str().unwrap(), "images"]);
    assert!(seen_by_nobody(&shared.join("other")));
    closed(&shared.join("containers"));
}
