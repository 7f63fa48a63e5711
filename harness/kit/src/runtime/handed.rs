//! Commands of the subject that are handed a terminal or descriptors of their caller, or another directory.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use super::driver::Driver;
use super::finish::finish;
use crate::fault::FaultKind;
use crate::trouble::Trouble;
use subject::complaint;

impl Driver {
    /// The same subject with containers of another directory, its `--root`.
    ///
    /// # Errors
    /// It is an engine.
    pub fn with_root(&self, root: &Path) -> Result<Self, Trouble> {
        self.way.runtime("another directory of containers")?;
        Ok(Self { state: root.to_owned(), ..self.clone() })
    }

    /// Starts a command of the subject in a session of its own, on a terminal that is its standard streams and its controlling one.
    /// Source: ioctl_tty(2), TIOCSCTTY.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_on_terminal(&self, words: &[&str], terminal: OwnedFd) -> Result<Child, Trouble> {
        self.way.runtime("a terminal of its caller")?;
        let (told, _) = self.told(words)?;
        let mut command = self.command(&told)?;
        let take = || {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes system calls alone.
        unsafe { command.pre_exec(take) };
        let (out, err) = (terminal.try_clone()?, terminal.try_clone()?);
        Ok(command.stdin(terminal).stdout(out).stderr(err).spawn()?)
    }

    /// `run` of a bundle by a process that has `open` more descriptors, from 3 on, of which the subject is to preserve `count`; what
    /// the application said.
    ///
    /// # Errors
    /// It ended with a failure, or did not end.
    pub fn run_with_descriptors(
        &self,
        bundle: &Path,
        id: &str,
        open: i32,
        count: i32,
    ) -> Result<String, Trouble> {
        let leaks = matches!(self.fault, Some(FaultKind::LeaksDescriptor(_)));
        self.way.runtime("more descriptors")?;
        let mut command = self.command::<&str>(&[])?;
        // Above all numbers that it is duplicated to: onto itself it would stay closed at execve.
        let null = rustix::io::fcntl_dupfd_cloexec(std::fs::File::open("/dev/null")?, 3 + open)?;
        let prepare = move || {
            for number in 3..3 + open {
                // SAFETY: duplicates an open descriptor onto one that nobody of this process uses after its fork.
                if unsafe { libc::dup2(null.as_raw_fd(), number) } < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec it calls dup2 alone.
        unsafe { command.pre_exec(prepare) };
        let count = (count + i32::from(leaks)).to_string();
        command.args(["run", "--preserve-fds", &count, "--bundle"]).arg(bundle).arg(id);
        command.stdin(Stdio::null());
        let (ended, output) = finish(command, "run")?;
        ended?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Trouble::Subject(format!("{} run: {}", self.name(), complaint(&output))))
    }
}
