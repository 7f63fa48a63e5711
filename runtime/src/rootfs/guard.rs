//! Where a container's mounts may lie. procfs is how the runtime itself speaks with the kernel, and what masked and read-only
//! paths are about, so nothing may be put over a part of it (CVE-2019-16884, CVE-2019-19921).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use super::proc::{Proc, is_procfs};
use super::resolve::Root;
use crate::error::{Doing, Error, Result};

/// Files of procfs that emulators such as lxcfs replace to show a container its own limits. They set nothing. runc allows the same.
const EMULATED: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// File systems of the kernel, which a container finds by these very names.
const BY_NAME: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What a destination means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// /proc itself.
    Proc,
    /// A file of procfs that may be replaced.
    Emulated,
    /// /dev or /sys, which must be real directories.
    ByName,
    /// Any other.
    Ordinary,
}

/// Looks at a destination as it is written.
///
/// # Errors
/// Nothing may be mounted there.
pub(super) fn place(destination: &Path) -> Result<Place> {
    let clean = normal(destination);
    if clean == Path::new("/") {
        return Err(Error::new("nothing can be mounted over the container's root")
            .remedy("root.path is what it is made of"));
    }
    if clean == Path::new("/proc") {
        return Ok(Place::Proc);
    }
    if EMULATED.iter().any(|path| clean == Path::new(path)) {
        return Ok(Place::Emulated);
    }
    if clean.starts_with("/proc") {
        return Err(inside_proc());
    }
    Ok(if BY_NAME.iter().any(|path| clean == Path::new(path)) { Place::ByName } else { Place::Ordinary })
}

/// Whether a destination is /dev itself.
pub(super) fn is_dev(destination: &Path) -> bool {
    normal(destination) == Path::new("/dev")
}

/// Looks at what a destination led to.
///
/// # Errors
/// A link of the image led into procfs.
pub(super) fn check(place: Place, target: &OwnedFd) -> Result<()> {
    if place == Place::Ordinary && is_procfs(target)? { Err(inside_proc()) } else { Ok(()) }
}

/// Refuses to show anything but a whole procfs at /proc.
///
/// # Errors
/// It is something else, or a part of one.
pub(super) fn is_whole_proc(source: &impl AsFd) -> Result<()> {
    let source = source.as_fd().try_clone_to_owned().doing(|| "duplicating a descriptor")?;
    Proc::verify(source).map(drop).map_err(|_| {
        Error::new("what is bound to /proc is not a whole procfs").remedy("use a mount of type proc")
    })
}

/// A file of procfs that may be replaced. The image can redirect it nowhere: either it lies on a real procfs, or no part of it is a link.
///
/// # Errors
/// It does not exist.
pub(super) fn emulated(root: &Root, destination: &Path) -> Result<OwnedFd> {
    let clean = normal(destination);
    let opened = root.find_no_links(Path::new("/proc"))?;
    if !is_procfs(&opened)? {
        return root.find_no_links(&clean);
    }
    let proc = Proc::verify(opened)?;
    // The one link on the way is the kernel's.
    let inside = match clean.strip_prefix("/proc/net") {
        Ok(rest) => proc.own().map(|own| own.join("net").join(rest)),
        Err(_) => Ok(clean.strip_prefix("/proc").unwrap_or(&clean).to_owned()),
    };
    inside
        .and_then(|inside| proc.open(&inside, rustix::fs::OFlags::PATH))
        .doing(|| clean.display().to_string())
}

fn inside_proc() -> Error {
    Error::new("nothing can be mounted inside /proc")
        .remedy("a mount of type proc at /proc is allowed, and binds over files such as /proc/meminfo")
}

/// A path without `.`, `..` and doubled slashes, as the container's root bounds it.
fn normal(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proc_itself_and_emulated_files_lie_in_proc() {
        for (path, expected) in [
            ("/proc", Place::Proc),
            ("//proc/.", Place::Proc),
            ("/x/../proc/", Place::Proc),
            ("/proc/meminfo", Place::Emulated),
            ("/proc/../dev", Place::ByName),
            ("/sys", Place::ByName),
            ("/sys/fs/cgroup", Place::Ordinary),
            ("/process", Place::Ordinary),
        ] {
            assert_eq!(place(Path::new(path)).unwrap(), expected, "{path}");
        }
        for path in ["/proc/sys", "/proc/sys/net/ipv4", "/a/../proc/1", "/proc/meminfo/x", "/", "/..", "/../"]
        {
            assert!(place(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_link_into_procfs_is_seen_by_its_descriptor() {
        let open = |path| {
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap()
        };
        assert!(check(Place::Ordinary, &open("/proc/sys")).is_err());
        check(Place::Ordinary, &open("/tmp")).unwrap();
        assert!(is_whole_proc(&open("/proc/self")).is_err() && is_whole_proc(&open("/tmp")).is_err());
        is_whole_proc(&open("/proc")).unwrap();
    }
}
