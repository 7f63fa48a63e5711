//! Watching a process in the foreground: signals go to it, its terminal comes from it, its exit status is ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal as Named};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{read, write};

use super::pidfd;
use super::signal::Signal;
use super::terminal::{self, Raw};
use crate::error::{Doing, Result};

/// Signals that are blocked and read one by one. To be made before the process is: what arrives in between
/// would otherwise be lost.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks every signal that can be forwarded.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn block() -> Result<Self> {
        let mut set = SigSet::all();
        // These mean that this very process went wrong.
        for fault in [Named::SIGSEGV, Named::SIGBUS, Named::SIGILL, Named::SIGFPE, Named::SIGABRT] {
            set.remove(fault);
        }
        set.thread_block().doing(|| "blocking signals")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .doing(|| "opening a signal descriptor")?;
        Ok(Self(fd))
    }

    /// Readable while a signal waits.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The signals that wait.
    pub fn take(&self) -> Vec<Signal> {
        let mut all = Vec::new();
        while let Ok(Some(info)) = self.0.read_signal() {
            all.extend(Signal::from_number(info.ssi_signo.cast_signed()));
        }
        all
    }
}

/// Waits for a child, forwarding signals to it and, if there is a terminal, everything that is typed and shown.
/// Returns its exit status, 128 + n for signal n.
///
/// # Errors
/// The child cannot be waited for.
pub fn watch(child: &OwnedFd, signals: &Signals, master: Option<&OwnedFd>) -> Result<i32> {
    let _raw = master.and_then(|_| Raw::stdin());
    if let Some(master) = master {
        follow_size(master);
    }
    let stdin = std::io::stdin();
    let mut typing = master.is_some();
    let mut showing = master.is_some();
    loop {
        let mut fds = vec![
            PollFd::new(child.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.0.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(master) = master.filter(|_| showing) {
            fds.push(PollFd::new(master.as_fd(), PollFlags::POLLIN));
            if typing {
                fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            ready => ready.doing(|| "waiting for the container")?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if ready[1] {
            forward_signals(child, signals, master);
        }
        if let Some(master) = master {
            if ready.get(2) == Some(&true) {
                showing = copy(master.as_fd(), std::io::stdout().as_fd());
            }
            if ready.get(3) == Some(&true) {
                typing = copy(stdin.as_fd(), master.as_fd());
            }
        }
        if ready[0] && !(showing && ready.get(2) == Some(&true)) {
            return pidfd::reap(child);
        }
    }
}

fn forward_signals(child: &OwnedFd, signals: &Signals, master: Option<&OwnedFd>) {
    for signal in signals.take() {
        match (signal.number(), master) {
            (libc::SIGCHLD | libc::SIGURG, _) => {}
            (libc::SIGWINCH, Some(master)) => follow_size(master),
            // It may be gone already, which the next round sees.
            _ => drop(pidfd::signal(child.as_fd(), signal)),
        }
    }
}

fn follow_size(master: &OwnedFd) {
    if let Some(size) = terminal::size(std::io::stdin()) {
        let _ = terminal::set_size(master, size);
    }
}

/// Copies what is there; false once the source has ended.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 16 * 1024];
    let length = match read(from, &mut buffer) {
        Err(Errno::EINTR | Errno::EAGAIN) => return true,
        // A master reads EIO once every slave is closed.
        Ok(0) | Err(_) => return false,
        Ok(length) => length,
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        match write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}
