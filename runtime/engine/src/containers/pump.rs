//! Copies a container's output to its log and to attached terminals, and their input to the container.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};

use super::logs::{Stream, Writer};
use runtime::error::{Doing, Result};
use runtime::oci::ConsoleSize;
use runtime::process::terminal;

/// One output of the container.
#[derive(Debug)]
pub(super) struct Output {
    /// Where it comes from; gone once it has ended.
    pub(super) from: Option<OwnedFd>,
    /// Whose it is.
    pub(super) stream: Stream,
    /// Where it goes beside the log.
    pub(super) to: Option<OwnedFd>,
}

/// The input of the container.
#[derive(Debug)]
pub(super) struct Input {
    /// Who types; gone once he has ended.
    pub(super) from: Option<OwnedFd>,
    /// The container's end; closed after the typist's.
    pub(super) to: Option<OwnedFd>,
    waiting: Vec<u8>,
}

impl Input {
    pub(super) fn new(from: Option<OwnedFd>, to: Option<OwnedFd>) -> Self {
        if let Some(to) = &to {
            // A container that does not read must not keep us from hearing what it says.
            let _ = fcntl(to, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        }
        Self { from, to, waiting: Vec::new() }
    }
}

/// All that is carried.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) outputs: Vec<Output>,
    pub(super) input: Input,
    /// The terminal, whose size follows the looker-on's.
    pub(super) terminal: Option<OwnedFd>,
    /// The command that looks on.
    pub(super) control: Option<OwnedFd>,
    pub(super) log: Writer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Process,
    Control,
    Typist,
    Room,
    Output(usize),
}

impl Pump {
    /// Carries until the process has ended and all that it said has been heard.
    pub(super) fn run(&mut self, process: &OwnedFd) -> Result<()> {
        let mut lives = true;
        while lives || self.outputs.iter().any(|output| output.from.is_some()) {
            // Without a PID namespace, a process that outlives the container's first one may keep its output open forever.
            let patience = if lives { PollTimeout::NONE } else { PollTimeout::ZERO };
            let ready = self.poll(lives.then_some(process), patience)?;
            if ready.is_empty() && !lives {
                break;
            }
            for source in ready {
                match source {
                    Source::Process => lives = false,
                    Source::Control => self.hear(),
                    Source::Typist => self.read_typist(),
                    Source::Room => self.type_on(),
                    Source::Output(number) => self.carry(number),
                }
            }
        }
        self.log.finish();
        Ok(())
    }

    fn poll(&self, process: Option<&OwnedFd>, patience: PollTimeout) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        if let Some(process) = process {
            sources.push(Source::Process);
            fds.push(PollFd::new(process.as_fd(), PollFlags::POLLIN));
        }
        if let Some(control) = &self.control {
            sources.push(Source::Control);
            fds.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
        }
        if let (Some(from), true) = (&self.input.from, self.input.waiting.is_empty()) {
            sources.push(Source::Typist);
            fds.push(PollFd::new(from.as_fd(), PollFlags::POLLIN));
        }
        if let (Some(to), false) = (&self.input.to, self.input.waiting.is_empty()) {
            sources.push(Source::Room);
            fds.push(PollFd::new(to.as_fd(), PollFlags::POLLOUT));
        }
        for (number, output) in self.outputs.iter().enumerate() {
            if let Some(from) = &output.from {
                sources.push(Source::Output(number));
                fds.push(PollFd::new(from.as_fd(), PollFlags::POLLIN));
            }
        }
        match poll(&mut fds, patience) {
            Err(Errno::EINTR) => return Ok(Vec::new()),
            polled => drop(polled.doing(|| "waiting for the container")?),
        }
        Ok(sources
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| fd.any() == Some(true))
            .map(|(source, _)| source)
            .collect())
    }

    fn carry(&mut self, number: usize) {
        let output = &mut self.outputs[number];
        let Some(from) = &output.from else { return };
        let mut buffer = vec![0; 64 * 1024];
        match read(from, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // A terminal reads EIO once every other end is closed.
            Ok(0) | Err(_) => output.from = None,
            Ok(length) => {
                if output.to.as_ref().is_some_and(|to| !write_all(to, &buffer[..length])) {
                    output.to = None;
                }
                self.log.take(output.stream, &buffer[..length]);
            }
        }
    }

    fn read_typist(&mut self) {
        let Some(from) = &self.input.from else { return };
        let mut buffer = vec![0; 16 * 1024];
        match read(from, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(0) | Err(_) => {
                self.input.from = None;
                // On a terminal the end is a character; a pipe ends by being closed.
                if self.terminal.is_none() {
                    self.input.to = None;
                }
            }
            Ok(length) => {
                self.input.waiting.extend_from_slice(&buffer[..length]);
                self.type_on();
            }
        }
    }

    fn type_on(&mut self) {
        let Some(to) = &self.input.to else {
            self.input.waiting.clear();
            return;
        };
        match write(to, &self.input.waiting) {
            Ok(length) => drop(self.input.waiting.drain(..length)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // It has closed its input: nobody need type any more.
            Err(_) => (self.input.to, self.input.from) = (None, None),
        }
    }

    /// The looker-on tells the size of his terminal, or has gone.
    fn hear(&mut self) {
        let Some(control) = &self.control else { return };
        let mut buffer = [0; 256];
        match read(control, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(0) | Err(_) => {
                self.control = None;
                self.input.from = None;
                for output in &mut self.outputs {
                    output.to = None;
                }
            }
            Ok(length) => {
                let size: Option<ConsoleSize> = serde_json::from_slice(&buffer[..length]).ok();
                if let (Some(terminal), Some(size)) = (&self.terminal, size) {
                    let _ = terminal::set_size(terminal, size);
                }
            }
        }
    }
}

fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                // Somebody made our output non-blocking; wait until it takes more.
                let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            Err(_) => return false,
        }
    }
    true
}
