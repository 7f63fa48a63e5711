//! A probe that is a process of its own, outside of every container.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::run::RUN_VARIABLE;
use crate::trouble::Trouble;
use probe::Ask;
use probe::NAME as PROBE;
use probe::channel::Channel;
use probe::verbs::look;

/// A live probe; it ends when dropped.
#[derive(Debug)]
pub struct Probe {
    /// Its PID, as the one who started it sees it.
    pub pid: i32,
    child: Child,
    channel: Channel,
}

impl Probe {
    /// Starts one for a run.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(run: &str) -> Result<Self, Trouble> {
        let mut command = Self::command()?;
        command.env(RUN_VARIABLE, run);
        Self::spawn(command)
    }

    /// Starts one of another copy of this program.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_file(run: &str, program: &Path) -> Result<Self, Trouble> {
        let mut command = Self::serving(program);
        command.env(RUN_VARIABLE, run);
        Self::spawn(command)
    }

    /// Starts one that does something before it becomes the probe, such as joining a group.
    ///
    /// # Errors
    /// It cannot be started, or what it was to do failed.
    pub fn start_after(
        prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    ) -> Result<Self, Trouble> {
        let mut command = Self::command()?;
        // SAFETY: the programs that use this have one thread, so the child may do whatever they may.
        unsafe { command.pre_exec(prepare) };
        Self::spawn(command)
    }

    fn command() -> Result<Command, Trouble> {
        Ok(Self::serving(&std::env::current_exe()?))
    }

    fn serving(program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg0(PROBE).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    fn spawn(mut command: Command) -> Result<Self, Trouble> {
        let mut child = command.spawn()?;
        let channel = Channel::new(&mut child)?;
        let mut probe = Self { pid: child.id().cast_signed(), child, channel };
        probe.ask(look::alive())?;
        Ok(probe)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn ask<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        Ok(self.channel.ask(request)?)
    }

    /// Asks without waiting.
    ///
    /// # Errors
    /// The probe is gone.
    pub fn tell(&mut self, request: impl Ask) -> Result<(), Trouble> {
        Ok(self.channel.tell(request)?)
    }

    /// Reads the answer to a question.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn answer<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        Ok(self.channel.answer(request)?)
    }

    /// Ends it, if it has not ended already, and says how it ended.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn end(mut self) -> Result<ExitStatus, Trouble> {
        self.channel.hang_up();
        Ok(self.child.wait()?)
    }

    /// How it ended, if it has: the signal, or 0.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn ended_by(&mut self) -> Result<Option<i32>, Trouble> {
        Ok(self.child.try_wait()?.map(|status| status.signal().unwrap_or(0)))
    }

    /// Sends it SIGKILL and waits.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<ExitStatus, Trouble> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.channel.hang_up();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
