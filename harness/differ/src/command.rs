//! One command of a subject, run to its end within a time limit, and how it ended.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use kit::trouble::Trouble;
use nix::sys::signal::Signal;
use runtime::process::pidfd;
use serde::{Deserialize, Serialize};

/// How long a command may take that should take milliseconds.
pub const LIMIT: Duration = Duration::from_secs(10);

/// How much of what a command says is kept, in bytes.
const LONGEST: u64 = 64 << 10;

/// How a command ended. Two exit statuses of one class are no difference: nothing says which number a refusal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// With exit status 0.
    Done,
    /// With a status of its own, and a reason.
    Refused,
    /// With a status of its own, and without a word.
    Silent,
    /// By a signal, or with the status that stands for one, or by a panic of Rust's.
    Crashed,
    /// Not within [`LIMIT`].
    Hung,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Silent => "failed without a word",
            Self::Crashed => "crashed",
            Self::Hung => "hung",
        })
    }
}

/// What a command came to.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    pub(crate) out: String,
    /// What it complained of.
    pub(crate) said: String,
}

/// A command that was started, with its standard error kept in memory.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    errors: File,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Result<Self, Trouble> {
        let errors = memory()?;
        let child = command.stderr(errors.try_clone()?).spawn()?;
        Ok(Self { child, errors })
    }

    /// Waits for its end, or ends it: how it ended, and what it complained of.
    pub(crate) fn wait(mut self) -> Result<(Ended, String), Trouble> {
        let process = pidfd::open(self.child.id().cast_signed())?;
        let in_time = pidfd::wait_exit(process.as_fd(), LIMIT)?;
        if !in_time {
            pidfd::signal(process.as_fd(), Signal::SIGKILL)?;
        }
        let status = self.child.wait()?;
        let said = text_of(&mut self.errors)?;
        Ok((if in_time { class(status, &said) } else { Ended::Hung }, said))
    }
}

/// Runs a command to its end. What it prints goes to memory and not to a pipe, which a process that it leaves would hold open.
pub(crate) fn run(mut command: Command) -> Result<Ran, Trouble> {
    let mut out = memory()?;
    command.stdout(out.try_clone()?);
    let (ended, said) = Running::start(command)?.wait()?;
    Ok(Ran { ended, out: text_of(&mut out)?, said })
}

fn class(status: ExitStatus, said: &str) -> Ended {
    match status.code() {
        Some(0) => Ended::Done,
        Some(101) | None => Ended::Crashed,
        Some(code) if (129..=192).contains(&code) || status.core_dumped() => Ended::Crashed,
        Some(_) if said.trim().is_empty() => Ended::Silent,
        Some(_) => Ended::Refused,
    }
}

fn memory() -> Result<File, Trouble> {
    Ok(File::from(rustix::fs::memfd_create("said", rustix::fs::MemfdFlags::CLOEXEC)?))
}

fn text_of(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_a_class() {
        let of = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", text]);
            run(command).unwrap()
        };
        assert_eq!(of("echo x").ended, Ended::Done);
        assert_eq!(of("echo x").out, "x\n");
        assert_eq!(of("echo why >&2; exit 1").ended, Ended::Refused);
        assert_eq!(of("echo why >&2; exit 1").said, "why\n");
        assert_eq!(of("exit 1").ended, Ended::Silent);
        assert_eq!(of("kill -SEGV $$").ended, Ended::Crashed);
        assert_eq!(of("exit 101").ended, Ended::Crashed);
    }
}
