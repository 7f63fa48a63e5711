//! What the subject inherits from whoever calls it: mask, score, standard streams.

use std::ffi::CStr;
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the subject inherits, beside what this program has itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caller {
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// What is written to oom_score_adj.
    pub oom_score_adj: Option<&'static str>,
    /// Which standard stream is closed.
    pub closed: Option<i32>,
    /// What is open as descriptor [`Caller::HELD`], and not closed by execve.
    pub holds: Option<&'static CStr>,
}

impl Caller {
    /// The descriptor that a caller holds.
    pub const HELD: i32 = 10;

    /// Lets the process of a command become such a caller before it executes the subject.
    pub(super) fn prepare(self, command: &mut Command) {
        if self == Self::default() {
            return;
        }
        // SAFETY: between fork and exec it makes system calls alone, and allocates nothing.
        unsafe { command.pre_exec(move || self.become_it()) };
    }

    fn become_it(self) -> std::io::Result<()> {
        if let Some(mask) = self.umask {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        }
        if let Some(score) = self.oom_score_adj {
            let (flags, mode) = (rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty());
            let file = rustix::fs::open(c"/proc/self/oom_score_adj", flags, mode)?;
            rustix::io::write(&file, score.as_bytes())?;
        }
        if let Some(number) = self.closed {
            // SAFETY: nobody of this process uses a standard stream between its fork and its exec.
            unsafe { libc::close(number) };
        }
        if let Some(path) = self.holds {
            let file = rustix::fs::open(path, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())?;
            // SAFETY: duplicates an open descriptor onto one that nobody of this process uses between its fork and its exec.
            if unsafe { libc::dup2(file.into_raw_fd(), Self::HELD) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    }
}
