//! Namespaces that take long to make, made while the runtime does other work.
//!
//! The kernel needs longer for a network namespace than for all else that a container is. So a helper makes it, on another CPU, while
//! the runtime notes the container down and makes its groups, and the container's first process joins it. The helper shares the runtime's
//! memory, because a copy of it would cost what is gained; it makes a handful of system calls on a stack of its own and touches nothing
//! else. It lives until the first process has joined, or until nobody is left who could.

use std::cell::RefCell;
use std::ffi::c_void;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustix::thread::UnshareFlags;

use super::pidfd;
use super::signal::Signal;
use crate::error::{Doing, Error, Remedy, Result};
use crate::namespace;

/// The helper calls no function that needs more than a fraction of it.
const STACK: usize = 16 * 1024;

/// Namespaces being made by a helper.
pub struct Ahead {
    kinds: CloneFlags,
    helper: OwnedFd,
    /// The helper ends once nobody has this end any more.
    waits: RefCell<Option<OwnedFd>>,
    /// What the helper works with, until it has ended.
    _task: Box<Task>,
    _stack: Box<[MaybeUninit<u8>]>,
}

/// What the helper is told. Descriptors are numbers in its own table.
struct Task {
    kinds: UnshareFlags,
    answer: RawFd,
    /// The other end, which it would otherwise keep open for itself.
    other: RawFd,
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Ahead {
    /// Which of these namespaces are made ahead: a network namespace, and with it those that depend on no other one.
    #[must_use]
    pub fn kinds(wanted: CloneFlags) -> CloneFlags {
        let together = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
        if wanted.contains(CloneFlags::CLONE_NEWNET) { wanted & together } else { CloneFlags::empty() }
    }

    /// Starts making them. `None` if there are none, or if no helper can be had; [`namespace::make`] makes them later then.
    ///
    /// # Safety
    /// The caller must be single-threaded, and stay so until this is dropped.
    pub unsafe fn start(kinds: CloneFlags) -> Option<Self> {
        if kinds.is_empty() {
            return None;
        }
        let (waits, answer) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).ok()?;
        let mut task = Box::new(Task {
            kinds: UnshareFlags::from_bits_retain(kinds.bits().cast_unsigned()),
            answer: answer.as_raw_fd(),
            other: waits.as_raw_fd(),
        });
        let mut stack = Box::<[u8]>::new_uninit_slice(STACK);
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let mut helper: libc::c_int = -1;
        // SAFETY: the helper has a stack of its own, which clone(3) aligns; stack and task live until it has ended, see `drop`. It is
        // a process and no thread, and makes system calls alone, so it needs nothing of what a thread has for itself.
        let result = unsafe {
            libc::clone(
                make,
                top,
                libc::CLONE_VM | libc::CLONE_PIDFD,
                (&raw mut *task).cast(),
                &raw mut helper,
            )
        };
        Errno::result(result).ok()?;
        // SAFETY: the kernel stored a fresh descriptor there, and nobody else owns it.
        let helper = unsafe { OwnedFd::from_raw_fd(helper) };
        Some(Self { kinds, helper, waits: RefCell::new(Some(waits)), _task: task, _stack: stack })
    }

    /// Those that it makes.
    #[must_use]
    pub fn made(&self) -> CloneFlags {
        self.kinds
    }

    /// In the first process: waits until they are made, and joins them.
    ///
    /// # Errors
    /// The kernel's, such as ENOSPC at a limit of namespaces.
    pub fn join(&self) -> Result<()> {
        let waits = self.waits.take().ok_or_else(|| Error::new("the namespaces were joined already"))?;
        let mut answer = [0; size_of::<i32>()];
        let read = loop {
            match rustix::io::read(&waits, &mut answer) {
                Err(rustix::io::Errno::INTR) => {}
                read => break read.doing(|| namespace::making(self.kinds))?,
            }
        };
        if read != answer.len() {
            return Err(Error::new(format!("{}: the helper was killed", namespace::making(self.kinds))));
        }
        match i32::from_ne_bytes(answer) {
            0 => match setns(self.helper.as_fd(), self.kinds) {
                // Before Linux 5.8 namespaces are joined each by its own file alone.
                Err(Errno::EINVAL) => namespace::make(self.kinds),
                joined => joined.doing(|| "joining the namespaces that were made"),
            },
            error => Err(Errno::from_raw(error))
                .doing(|| namespace::making(self.kinds))
                .or_advise(|| namespace::MAKING_NEEDS),
        }
    }

    /// In the runtime, once it has cloned the first process: only that one is waited for from here on.
    pub fn leave(&self) {
        self.waits.take();
    }
}

impl Drop for Ahead {
    /// The memory that the helper works with may be freed only when it is gone.
    fn drop(&mut self) {
        let _ = pidfd::signal(self.helper.as_fd(), Signal::KILL);
        let _ = pidfd::reap(&self.helper);
    }
}

/// The helper. It makes system calls by rustix, which needs no C library and so no memory of a thread's own: an `errno` is one.
extern "C" fn make(task: *mut c_void) -> libc::c_int {
    // SAFETY: `Ahead` keeps the task, unchanged, until this process has ended.
    let task = unsafe { &*task.cast::<Task>() };
    // SAFETY: this process has a table of its own, in which nobody else uses the descriptor.
    unsafe { rustix::io::close(task.other) };
    // SAFETY: CLONE_FILES is not among the kinds, so no descriptor changes its meaning.
    let error = match unsafe { rustix::thread::unshare_unsafe(task.kinds) } {
        Ok(()) => 0,
        Err(error) => error.raw_os_error(),
    };
    // SAFETY: it is open for as long as this process lives.
    let answer = unsafe { BorrowedFd::borrow_raw(task.answer) };
    let _ = rustix::io::write(answer, &error.to_ne_bytes());
    // Namespaces are joined by a process that is in them. This one goes when nobody can ask for them any more.
    while rustix::io::read(answer, &mut [0_u8]) == Err(rustix::io::Errno::INTR) {}
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_network_namespace_is_worth_a_helper() {
        let (net, ipc) = (CloneFlags::CLONE_NEWNET, CloneFlags::CLONE_NEWIPC);
        assert_eq!(Ahead::kinds(ipc | CloneFlags::CLONE_NEWNS), CloneFlags::empty());
        assert_eq!(Ahead::kinds(net | ipc | CloneFlags::CLONE_NEWNS), net | ipc);
    }
}
