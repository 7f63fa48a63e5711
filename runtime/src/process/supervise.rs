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
    let mut relay = master.map(Relay::new).transpose()?;
    let mut ended = false;
    loop {
        let mut fds = vec![PollFd::new(signals.0.as_fd(), PollFlags::POLLIN)];
        if !ended {
            fds.push(PollFd::new(child.as_fd(), PollFlags::POLLIN));
        }
        let own = fds.len();
        let ends = relay.as_ref().map(Relay::ends).unwrap_or_default();
        fds.extend(ends.iter().filter_map(|end| Some(PollFd::new(relay.as_ref()?.fd(*end), end.flags()))));
        // What the child has written before its end is still there.
        let drained = relay.as_ref().is_none_or(|relay| relay.shown.rest.is_empty());
        let patience = if ended && drained { PollTimeout::ZERO } else { PollTimeout::NONE };
        match poll(&mut fds, patience) {
            Err(Errno::EINTR) => continue,
            ready => ready.doing(|| "waiting for the container")?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        drop(fds);
        if ready[0] {
            forward_signals(child, signals, master);
        }
        let mut more = !drained;
        for (end, _) in ends.iter().zip(&ready[own..]).filter(|(_, ready)| **ready) {
            more |= *end == End::Shown;
            if let Some(relay) = relay.as_mut() {
                relay.step(*end);
            }
        }
        if ended && !more {
            return pidfd::reap(child);
        }
        ended |= own == 2 && ready[1];
    }
}

/// What a terminal and its user have to say to each other. Whoever does not read keeps neither the other direction nor signals waiting.
struct Relay<'a> {
    master: &'a OwnedFd,
    /// Standard output, opened anew where writing to it could block.
    screen: Option<OwnedFd>,
    shown: Flow,
    typed: Flow,
}

/// One direction.
struct Flow {
    /// Read, and not yet written.
    rest: Vec<u8>,
    /// Whether more may come.
    open: bool,
}

/// What a relay waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The terminal shows something.
    Shown,
    /// The screen takes something.
    Screen,
    /// Something is typed.
    Typed,
    /// The terminal takes something.
    Keyboard,
}

impl End {
    fn flags(self) -> PollFlags {
        match self {
            Self::Shown | Self::Typed => PollFlags::POLLIN,
            Self::Screen | Self::Keyboard => PollFlags::POLLOUT,
        }
    }
}

impl<'a> Relay<'a> {
    fn new(master: &'a OwnedFd) -> Result<Self> {
        // The master is this process's own; what standard output is, others share.
        let flags = rustix::fs::fcntl_getfl(master).doing(|| "asking for the terminal's flags")?;
        rustix::fs::fcntl_setfl(master, flags | rustix::fs::OFlags::NONBLOCK)
            .doing(|| "setting the terminal's flags")?;
        let flow = || Flow { rest: Vec::new(), open: true };
        Ok(Self { master, screen: reopened_stdout(), shown: flow(), typed: flow() })
    }

    /// What is worth waiting for now.
    fn ends(&self) -> Vec<End> {
        let mut ends = Vec::new();
        match (self.shown.rest.is_empty(), self.shown.open) {
            (false, _) => ends.push(End::Screen),
            (true, true) => ends.push(End::Shown),
            (true, false) => {}
        }
        match (self.typed.rest.is_empty(), self.typed.open && self.shown.open) {
            (false, true) => ends.push(End::Keyboard),
            (true, true) => ends.push(End::Typed),
            (_, false) => {}
        }
        ends
    }

    fn fd(&self, end: End) -> BorrowedFd<'_> {
        match end {
            End::Shown | End::Keyboard => self.master.as_fd(),
            End::Typed => rustix::stdio::stdin(),
            End::Screen => self.screen.as_ref().map_or(rustix::stdio::stdout(), AsFd::as_fd),
        }
    }

    fn step(&mut self, end: End) {
        match end {
            End::Shown => self.shown.take(self.master.as_fd()),
            End::Typed => self.typed.take(rustix::stdio::stdin()),
            End::Keyboard => self.typed.give(self.master.as_fd()),
            End::Screen => {
                self.shown.give(self.screen.as_ref().map_or(rustix::stdio::stdout(), AsFd::as_fd));
            }
        }
    }
}

impl Flow {
    /// Reads what is there. A master reads EIO once every slave is closed.
    fn take(&mut self, from: BorrowedFd<'_>) {
        let mut buffer = [0; 16 * 1024];
        match read(from, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(0) | Err(_) => self.open = false,
            Ok(length) => self.rest.extend(&buffer[..length]),
        }
    }

    /// Writes as much as is taken.
    fn give(&mut self, to: BorrowedFd<'_>) {
        match write(to, &self.rest) {
            Ok(written) => drop(self.rest.drain(..written)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.rest.clear();
                self.open = false;
            }
        }
    }
}

/// Standard output as a description of its own that never blocks; `None` where it is no terminal and no pipe, or may not be opened.
/// A file opened anew would begin at its start, and never blocks anyway.
fn reopened_stdout() -> Option<OwnedFd> {
    use rustix::fs::{FileType, Mode, OFlags};
    let kind = FileType::from_raw_mode(rustix::fs::fstat(rustix::stdio::stdout()).ok()?.st_mode);
    if !matches!(kind, FileType::CharacterDevice | FileType::Fifo) {
        return None;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()).ok()
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
