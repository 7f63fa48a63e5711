//! Talking with a probe: a request is a line of JSON words, an answer a line of JSON.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use crate::check::Trouble;

/// How long an answer may take beyond what the question itself needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A probe at the other end of two pipes, or of a socket.
#[derive(Debug)]
pub struct Line {
    stdin: Option<File>,
    stdout: File,
    unread: Vec<u8>,
}

impl Line {
    /// Takes the pipes of a process that was just started.
    pub fn new(child: &mut Child) -> Self {
        let stdin = child.stdin.take().map(|pipe| OwnedFd::from(pipe).into());
        let stdout = OwnedFd::from(child.stdout.take().expect("started with a pipe")).into();
        Self { stdin, stdout, unread: Vec::new() }
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
    pub fn ask(&mut self, words: &[&str]) -> Result<Value, Trouble> {
        self.tell(words)?;
        self.answer(words)
    }

    /// Asks without waiting: the answer is read by [`Line::answer`].
    ///
    /// # Errors
    /// The probe is gone.
    pub fn tell(&mut self, words: &[&str]) -> Result<(), Trouble> {
        let mut request = serde_json::to_vec(words)?;
        request.push(b'\n');
        let stdin = self.stdin.as_mut().ok_or_else(|| Trouble::Harness("the line was closed".into()))?;
        stdin.write_all(&request).map_err(|error| Trouble::Subject(format!("the probe is gone: {error}")))
    }

    /// Reads the answer to a question.
    ///
    /// # Errors
    /// As of [`Line::ask`].
    pub fn answer(&mut self, words: &[&str]) -> Result<Value, Trouble> {
        let line = self.read_line(words)?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| Trouble::Subject(format!("the probe answered '{line}': {error}")))?;
        if let Some(error) = answer.get("error") {
            return Err(Trouble::Subject(format!("probe {}: {error}", words.join(" "))));
        }
        Ok(answer["ok"].clone())
    }

    /// Waits for the beginning of an answer for so long, and says whether it came.
    ///
    /// # Errors
    /// The system's.
    pub fn is_ready(&self, patience: Duration) -> Result<bool, Trouble> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        Ok(!self.unread.is_empty()
            || poll(&mut [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)], timeout)? > 0)
    }

    /// Closes the probe's standard input, which ends it.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }

    fn read_line(&mut self, words: &[&str]) -> Result<String, Trouble> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if poll(&mut [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
                return Err(Trouble::Subject(format!(
                    "no answer to '{}' within {PATIENCE:?}",
                    words.join(" ")
                )));
            }
            let mut chunk = [0; 64 * 1024];
            let length = self.stdout.read(&mut chunk)?;
            if length == 0 {
                return Err(Trouble::Subject(format!(
                    "the container ended before it answered '{}'",
                    words.join(" ")
                )));
            }
            self.unread.extend(&chunk[..length]);
        }
    }
}
