//! Signals that end a command while it waits for somebody else: a hook that hangs, a first process that never gets ready.
//!
//! Signals are blocked while a container is made: dying of one would leave the container's groups and records behind.
//! Every wait then watches for them too, and what it returns is an error like any other.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Doing, Error, Result};

/// The signals by which people and service managers end a command.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Those of the signals that the caller blocked. They are not taken from it unless they come during a wait.
#[derive(Debug)]
pub struct Interrupt(Option<SignalFd>);

/// Blocks the signals that end a command, for [`Interrupt`] to see them. One that the caller's parent made it ignore stays ignored,
/// as nohup(1) expects.
///
/// # Errors
/// The kernel refuses.
pub fn block() -> Result<()> {
    let set: SigSet = ENDING.into_iter().filter(|signal| !is_ignored(*signal)).collect();
    set.thread_block().doing(|| "blocking signals")
}

impl Interrupt {
    /// Watches for what the caller blocked. If that is nothing, the signals do what they always do.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn of_blocked() -> Result<Self> {
        let blocked = SigSet::thread_get_mask().doing(|| "reading the signal mask")?;
        let seen = |signal: &Signal| blocked.contains(*signal) && !is_ignored(*signal);
        let set: SigSet = ENDING.into_iter().filter(seen).collect();
        if set.iter().next().is_none() {
            return Ok(Self(None));
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&set, flags).doing(|| "opening a signal descriptor")?;
        Ok(Self(Some(descriptor)))
    }

    /// Readable once such a signal has come.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Whether none has come yet.
    ///
    /// # Errors
    /// Names the signal.
    pub fn check(&self) -> Result<()> {
        let Some(descriptor) = &self.0 else { return Ok(()) };
        let Some(info) = descriptor.read_signal().doing(|| "reading a signal")? else { return Ok(()) };
        let number = info.ssi_signo.cast_signed();
        let name = Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.to_string());
        Err(Error::new(format!("interrupted by {name}")))
    }

    /// Waits until a descriptor can be read.
    ///
    /// # Errors
    /// A signal came first.
    pub fn wait(&self, descriptor: BorrowedFd<'_>) -> Result<()> {
        let mut fds = vec![PollFd::new(descriptor, PollFlags::POLLIN)];
        fds.extend(self.descriptor().map(|own| PollFd::new(own, PollFlags::POLLIN)));
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                ready => ready.doing(|| "waiting for the container's first process")?,
            };
            if fds[0].any().unwrap_or(true) {
                return Ok(());
            }
            self.check()?;
        }
    }
}

fn is_ignored(signal: Signal) -> bool {
    // SAFETY: all zeroes is a valid sigaction: integers and an optional function.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call only writes the present one through the pointer.
    let asked = unsafe { libc::sigaction(signal as libc::c_int, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}
