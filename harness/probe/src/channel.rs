//! Asking a probe: a request is a line of JSON words, an answer a line of JSON.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::ask::{Ask, Reply};

/// How long an answer may take beyond what the question itself needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest answer: the other end may not be a probe.
const LONGEST: usize = 16 << 20;

/// A probe at the other end of two pipes, or of a socket.
#[derive(Debug)]
pub struct Channel {
    stdin: Option<File>,
    stdout: File,
    unread: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    /// The probe is gone: its process has ended, or was killed.
    Gone(String),
    /// The probe says that it could not do it.
    Failed(String),
    /// It did not answer in time.
    Late(String),
    /// What it answered is no answer to the question.
    Strange(String),
    /// The descriptors of this side cannot be used.
    Channel(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(text)
            | Self::Failed(text)
            | Self::Late(text)
            | Self::Strange(text)
            | Self::Channel(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl Channel {
    /// Takes the pipes of a process that was just started with them.
    ///
    /// # Errors
    /// It was started without a pipe for its standard output.
    pub fn new(child: &mut Child) -> Result<Self, Error> {
        let stdin = child.stdin.take().map(|pipe| OwnedFd::from(pipe).into());
        let stdout = child.stdout.take().ok_or_else(|| Error::Channel("a probe without a pipe".into()))?;
        Ok(Self { stdin, stdout: OwnedFd::from(stdout).into(), unread: Vec::new() })
    }

    /// Takes a connection with a probe.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn over(stream: UnixStream) -> std::io::Result<Self> {
        let stdin = Some(OwnedFd::from(stream.try_clone()?).into());
        Ok(Self { stdin, stdout: OwnedFd::from(stream).into(), unread: Vec::new() })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The probe is gone (its process may have been killed), said that it could not, or did not answer in time.
    pub fn ask<A: Ask>(&mut self, request: A) -> Result<A::Answer, Error> {
        self.tell(&request)?;
        self.answer(&request)
    }

    /// Asks without waiting: the answer is read by [`Channel::answer`].
    ///
    /// # Errors
    /// The probe is gone.
    pub fn tell(&mut self, request: impl Ask) -> Result<(), Error> {
        let mut line =
            serde_json::to_vec(&request.words()).map_err(|error| Error::Channel(error.to_string()))?;
        line.push(b'\n');
        let stdin = self.stdin.as_mut().ok_or_else(|| Error::Channel("the channel was closed".into()))?;
        stdin.write_all(&line).map_err(|error| Error::Gone(format!("the probe is gone: {error}")))
    }

    /// Reads the answer to a question.
    ///
    /// # Errors
    /// Same errors as [`Channel::ask`].
    pub fn answer<A: Ask>(&mut self, request: A) -> Result<A::Answer, Error> {
        let asked = request.words().join(" ");
        let line = self.read_line(&asked)?;
        understand::<A>(&asked, &line)
    }

    /// Waits for the beginning of an answer for so long, and says whether it came.
    ///
    /// # Errors
    /// The system's.
    pub fn is_ready(&self, patience: Duration) -> Result<bool, Error> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut waiting = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
        let found = poll(&mut waiting, timeout).map_err(|error| Error::Channel(error.to_string()))?;
        Ok(!self.unread.is_empty() || found > 0)
    }

    /// Closes the probe's standard input, which ends it.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }

    fn read_line(&mut self, asked: &str) -> Result<String, Error> {
        let broken = |error: std::io::Error| Error::Channel(format!("waiting for an answer: {error}"));
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        loop {
            if let Some(end) = self.unread[seen..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=seen + end).collect();
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut waiting = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
            if poll(&mut waiting, timeout).map_err(|error| broken(error.into()))? == 0 {
                return Err(Error::Late(format!("no answer to '{asked}' within {PATIENCE:?}")));
            }
            let mut chunk = [0; 64 * 1024];
            let length = self.stdout.read(&mut chunk).map_err(broken)?;
            if length == 0 {
                return Err(Error::Gone(format!("the container ended before it answered '{asked}'")));
            }
            seen = self.unread.len();
            self.unread.extend(&chunk[..length]);
            if self.unread.len() > LONGEST {
                return Err(Error::Strange(format!(
                    "the answer to '{asked}' is longer than {LONGEST} bytes"
                )));
            }
        }
    }
}

/// The answer that a probe printed which was started with a request.
///
/// # Errors
/// It said that it could not, or printed no answer.
pub fn printed<A: Ask>(request: A, text: &str) -> Result<A::Answer, Error> {
    let asked = request.words().join(" ");
    understand::<A>(&asked, text.lines().last().unwrap_or_default())
}

fn understand<A: Ask>(asked: &str, line: &str) -> Result<A::Answer, Error> {
    match serde_json::from_str(line) {
        Ok(Reply::Ok(answer)) => Ok(answer),
        Ok(Reply::Error(failure)) => Err(Error::Failed(format!("probe {asked}: {failure}"))),
        Err(error) => Err(Error::Strange(format!("the probe answered '{asked}' with '{line}': {error}"))),
    }
}
