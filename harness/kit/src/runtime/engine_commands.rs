//! The commands of an engine that starts the containers of a runtime check.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use subject::{Engine, Place, Through, complaint};

use crate::engine::{Daemons, on_host};
use crate::patience::wait_within;
use crate::run::RUN_VARIABLE;
use crate::trouble::Trouble;

/// An engine in a place, and the daemons that it needs.
#[derive(Debug)]
pub(super) struct EngineCommands {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) place: Place,
    pub(super) run: String,
    /// The try: what its containers and images are called begins so.
    pub(super) tag: String,
    pub(super) dir: PathBuf,
    /// What executes its commands: nothing for a daemon of the user's, which is on the real host.
    pub(super) through: Option<Through>,
    pub(super) daemons: Option<Daemons>,
}

impl EngineCommands {
    pub(super) fn name(&self) -> &str {
        self.engine.name()
    }

    /// A command of the engine, in its own words.
    pub(super) fn own<S: AsRef<str>>(&self, words: &[S]) -> Command {
        let mut command = self.engine.program().command(self.through.as_ref());
        command.env(RUN_VARIABLE, &self.run).envs(self.engine.variables(&self.place));
        command.args(self.engine.options(&self.place)).args(words.iter().map(AsRef::as_ref));
        command
    }

    /// Runs a command of the engine to its end, and returns what it printed.
    ///
    /// # Errors
    /// It failed, or did not end.
    pub(super) fn say(&self, words: &[&str]) -> Result<String, Trouble> {
        let child = self.own(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pid = child.id().cast_signed();
        let watchdog = std::thread::spawn(move || wait_within(pid, "the engine's command"));
        let output = child.wait_with_output()?;
        let _ = watchdog.join();
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(Trouble::Subject(format!("{} {}: {}", self.name(), words.join(" "), complaint(&output))))
    }

    /// The PID on the host of a process that the engine's daemon knows by this one; nothing if it knows none.
    pub(super) fn on_host(&self, pid: i64) -> Option<i64> {
        match &self.daemons {
            _ if pid <= 0 => None,
            Some(daemons) => on_host(daemons.pid(), pid),
            None => Some(pid),
        }
    }
}
