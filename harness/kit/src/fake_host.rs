//! A fake host: a process with mount, UTS, IPC and network namespaces of its own that plays the host. What a broken
//! subject does to "the host" it does to the fake host, and every mount of it is shared, as on hosts with systemd.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use subject::Through;

use crate::role::SANDBOX;
use crate::run::RUN_VARIABLE;
use crate::trouble::Trouble;
use probe::Ask;
use probe::channel::Channel;
use probe::verbs::look;

/// A live one; gone with everything mounted in it when dropped.
#[derive(Debug)]
pub struct FakeHost {
    child: Child,
    channel: Channel,
    program: PathBuf,
}

impl FakeHost {
    /// Sets up a fake host for a run.
    ///
    /// # Errors
    /// Namespaces cannot be made.
    pub fn new(run: &str) -> Result<Self, Trouble> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(&program)
            .arg0(SANDBOX)
            .arg("host")
            .env(RUN_VARIABLE, run)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut channel = Channel::new(&mut child)?;
        channel
            .ask(look::alive())
            .map_err(|error| Trouble::Harness(format!("setting up a fake host: {error}")))?;
        Ok(Self { child, channel, program })
    }

    /// Asks the probe on the fake host, outside every container.
    ///
    /// # Errors
    /// The harness's: a fake host is its own.
    pub fn ask<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        self.channel.ask(request).map_err(|error| Trouble::Harness(format!("fake host: {error}")))
    }

    /// The process that plays the host.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The program that executes another one on the fake host.
    pub fn through(&self) -> Through {
        let pid = OsString::from(self.pid().to_string());
        Through { program: self.program.clone(), called: SANDBOX, arguments: vec!["enter".into(), pid] }
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        self.channel.hang_up();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
