//! clone3(2): one call makes a process in new namespaces, in its cgroup, with a descriptor of its own.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;

/// What [`clone3`] returns on each side.
pub enum Side {
    /// In the new process.
    Child,
    /// In the caller.
    Parent(Child),
}

/// A process just made.
#[derive(Debug)]
pub struct Child {
    /// Its PID in the caller's namespace.
    pub pid: i32,
    /// Its descriptor.
    pub pidfd: OwnedFd,
}

/// From linux/sched.h; libc has it for some architectures only.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Copies the calling process, as fork(2) does, into new namespaces and, if given, into a cgroup v2 directory. With CLONE_PARENT
/// among the flags the new process is a child of the caller's parent.
///
/// # Errors
/// The kernel's, such as EPERM without the rights to make a namespace, or ENOSPC at a limit of namespaces.
///
/// # Safety
/// The caller must be single-threaded: in the child only the calling thread exists, and a lock that another
/// one held would stay locked for ever.
pub unsafe fn clone3(namespaces: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> nix::Result<Side> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all zeroes is a valid clone_args: every field is an integer.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    // The flags of namespaces fit 32 bits; the cast keeps the one in the sign bit from spreading.
    arguments.flags = u64::from(namespaces.bits().cast_unsigned()) | libc::CLONE_PIDFD as u64;
    arguments.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // With CLONE_PARENT the signal is the one that the caller itself ends with.
    let sibling = namespaces.contains(CloneFlags::CLONE_PARENT);
    arguments.exit_signal = if sibling { 0 } else { libc::SIGCHLD as u64 };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).expect("descriptors are not negative");
    }
    // SAFETY: without CLONE_VM the child has a copy of everything, so this is fork(2), whose one condition
    // the caller promised. The pointers live through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    match Errno::result(result)? {
        0 => Ok(Side::Child),
        pid => {
            // SAFETY: the kernel stored a fresh descriptor there, and nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent(Child { pid: i32::try_from(pid).expect("a PID"), pidfd }))
        }
    }
}
