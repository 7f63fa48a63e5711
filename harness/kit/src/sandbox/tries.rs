//! Tries of what checks do all the time, in a process that ends afterwards.

use std::fs;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chdir, pivot_root, sethostname};
use runtime::namespace::Kind;

use crate::trouble::{Doing, Trouble};

/// Tries what these words name.
pub(super) fn perform(words: &[&str]) -> Result<(), Trouble> {
    match words {
        ["rights"] => rights(),
        ["namespace", word] => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.file() == *word);
            let kind = kind.ok_or_else(|| Trouble::Harness(format!("no namespace is called '{word}'")))?;
            namespace(kind)
        }
        other => Err(Trouble::Harness(format!("unknown try {other:?}"))),
    }
}

/// Namespaces, a mount that nobody else sees, another root directory, and a device in it.
fn rights() -> Result<(), Trouble> {
    // Processes are found in /proc by their numbers.
    let own = fs::read_link("/proc/self").doing("/proc/self")?;
    if own.to_str() != Some(std::process::id().to_string().as_str()) {
        return Err(Trouble::Harness(
            "/proc is that of another PID namespace: mount -t proc proc /proc".into(),
        ));
    }
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID;
    unshare(flags).doing("unshare")?;
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).doing("setting the propagation of /")?;
    // Of the directories that every system has, the one that nobody misses here any more.
    mount(Some("plimsoll"), "/proc", Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .doing("mounting a tmpfs")?;
    chdir("/proc").doing("entering a tmpfs")?;
    pivot_root(".", ".").map_err(|error| {
        let why = if error == nix::errno::Errno::EINVAL {
            "; an initramfs cannot be left by it: switch_root to another file system first"
        } else {
            ""
        };
        Trouble::Harness(format!("pivot_root: {error}{why}"))
    })?;
    umount2(".", MntFlags::MNT_DETACH).doing("leaving the old root")?;
    // Only root of the initial user namespace may, whatever its capabilities elsewhere.
    let everybody = Mode::from_bits_truncate(0o666);
    mknod("/null", SFlag::S_IFCHR, everybody, makedev(1, 3)).doing("making a device")?;
    fs::write("/null", "x").doing("writing to a device")
}

/// A namespace; in one of users also the right over what belongs to it, which a security module may withhold.
fn namespace(kind: Kind) -> Result<(), Trouble> {
    unshare(kind.flag()).doing("unshare")?;
    if kind != Kind::User {
        return Ok(());
    }
    fs::write("/proc/self/setgroups", "deny").doing("/proc/self/setgroups")?;
    for file in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        fs::write(file, "0 0 1").doing(file)?;
    }
    unshare(CloneFlags::CLONE_NEWUTS).doing("unshare in the user namespace")?;
    sethostname("plimsoll").doing("sethostname in the user namespace")
}
