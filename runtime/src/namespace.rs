//! Which namespaces there are, and how they are named, compared and joined.
//!
//! Source: namespaces(7), setns(2).

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Remedy, Result};

/// The eight kinds of namespace, by their names in the OCI runtime specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// uid and gid numbers, and who holds which capability over what.
    User,
    /// Process ids.
    Pid,
    /// The mount table.
    Mount,
    /// Host and NIS domain name.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Network devices, addresses, routes, ports, abstract sockets.
    Network,
    /// Which group is shown as the root of /proc/PID/cgroup.
    Cgroup,
    /// Offsets of CLOCK_MONOTONIC and CLOCK_BOOTTIME.
    Time,
}

impl Kind {
    /// Every kind, in the order in which they can be joined: the user namespace first, because it grants the
    /// rights to join those that it owns.
    pub const ALL: [Kind; 8] =
        [Kind::User, Kind::Pid, Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Network, Kind::Cgroup, Kind::Time];

    /// The name of its link in `/proc/PID/ns`.
    pub fn file(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Pid => "pid",
            Kind::Mount => "mnt",
            Kind::Uts => "uts",
            Kind::Ipc => "ipc",
            Kind::Network => "net",
            Kind::Cgroup => "cgroup",
            Kind::Time => "time",
        }
    }

    /// Its flag for clone(2), unshare(2) and setns(2).
    pub fn flag(self) -> CloneFlags {
        match self {
            Kind::User => CloneFlags::CLONE_NEWUSER,
            Kind::Pid => CloneFlags::CLONE_NEWPID,
            Kind::Mount => CloneFlags::CLONE_NEWNS,
            Kind::Uts => CloneFlags::CLONE_NEWUTS,
            Kind::Ipc => CloneFlags::CLONE_NEWIPC,
            Kind::Network => CloneFlags::CLONE_NEWNET,
            Kind::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            Kind::Time => CloneFlags::from_bits_retain(libc::CLONE_NEWTIME),
        }
    }

    /// Whether the running kernel has this kind at all.
    pub fn is_supported(self) -> bool {
        // To follow the link would make the namespace's file, which takes longer.
        Path::new("/proc/self/ns").join(self.file()).symlink_metadata().is_ok()
    }
}

/// The path of a process's namespace link.
pub fn link(pid: i32, kind: Kind) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/{}", kind.file()))
}

/// The identity of a process's namespace: the inode behind its link, unique among live namespaces.
///
/// # Errors
/// The process is gone, or may not be inspected.
pub fn id(pid: i32, kind: Kind) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let path = link(pid, kind);
    Ok(std::fs::metadata(&path).doing(|| format!("reading {}", path.display()))?.ino())
}

/// The processes that are in the same namespace as one of them, as far as the caller may look at them.
pub fn members(pid: i32, kind: Kind) -> Vec<i32> {
    let Ok(wanted) = id(pid, kind) else { return Vec::new() };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<i32> = numbers.filter(|pid| id(*pid, kind).is_ok_and(|own| own == wanted)).collect();
    found.sort_unstable();
    found
}

/// Opens a namespace by path (a `/proc/PID/ns` link or a bind mount of one), to be joined later.
///
/// # Errors
/// The path does not exist or may not be opened.
pub fn open(path: &Path) -> Result<File> {
    let doing = || format!("opening the namespace {}", path.display());
    // A FIFO would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).doing(doing)?;
    if rustix::fs::fstatfs(&file).doing(doing)?.f_type == NSFS_MAGIC {
        return Ok(file.into());
    }
    Err(Error::new(format!("{} is no namespace", path.display()))
        .remedy("name a link in /proc/PID/ns, or a file that one was bound to"))
}

/// The file system of namespaces. Source: linux/magic.h.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// What is being done when namespaces are made, for errors.
pub(crate) fn making(kinds: CloneFlags) -> String {
    format!("making the container's namespaces ({kinds:?})")
}

/// What may help when they cannot be made.
pub(crate) const MAKING_NEEDS: &str =
    "it needs root (CAP_SYS_ADMIN); /proc/sys/user/max_*_namespaces bounds their number";

/// Makes namespaces for the calling thread itself, as far as it can be in them.
///
/// # Errors
/// The kernel's, such as EPERM without the rights to make one, or ENOSPC at a limit of namespaces.
pub fn make(kinds: CloneFlags) -> Result<()> {
    if kinds.is_empty() {
        return Ok(());
    }
    nix::sched::unshare(kinds).doing(|| making(kinds)).or_advise(|| MAKING_NEEDS)
}

/// Moves the calling thread into a namespace.
///
/// # Errors
/// It is not of this kind, the caller lacks CAP_SYS_ADMIN over it, or (for user and mount namespaces) the
/// caller has more than one thread.
pub fn join(namespace: impl AsFd, kind: Kind) -> Result<()> {
    nix::sched::setns(namespace, kind.flag()).doing(|| format!("joining the {} namespace", kind.file()))
}

/// Brings up the loopback device of the caller's network namespace. A new namespace has one, but it is down.
///
/// # Errors
/// The kernel refuses.
pub fn loopback_up() -> Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let doing = || "bringing the loopback device up";
    let socket =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).doing(doing)?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).expect("a low bit");
    // SAFETY: SIOCSIFFLAGS reads an ifreq through the pointer.
    let result = unsafe {
        libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCSIFFLAGS, &raw const request)
    };
    nix::errno::Errno::result(result).map(drop).doing(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_links_exist_for_supported_kinds() {
        let own = std::process::id().cast_signed();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_supported()) {
            assert_eq!(id(own, kind).unwrap(), id(own, kind).unwrap(), "{kind:?}");
        }
    }

    #[test]
    fn a_missing_process_is_named() {
        let message = id(i32::MAX, Kind::Uts).unwrap_err().to_string();
        assert!(message.contains("/proc/2147483647/ns/uts"), "{message}");
    }

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(serde_json::to_string(&Kind::Network).unwrap(), "\"network\"");
        assert_eq!(serde_json::from_str::<Kind>("\"mount\"").unwrap(), Kind::Mount);
    }

    #[test]
    fn what_is_no_namespace_is_refused_without_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [fifo.as_path(), dir.path(), Path::new("/dev/zero"), Path::new("/proc/self/stat")] {
            let error = open(path).unwrap_err().to_string();
            assert!(error.contains("is no namespace"), "{error}");
        }
        open(Path::new("/proc/self/ns/net")).unwrap();
    }
}
