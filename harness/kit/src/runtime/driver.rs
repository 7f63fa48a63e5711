//! The commands of a subject, each run to its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use super::caller::Caller;
use super::finish::finish;
use super::group_name::GroupName;
use super::way::Way;
use crate::fault::FaultKind;
use crate::mutate::Tap;
use crate::patience::wait_within;
use crate::role::SANDBOX;
use crate::run::RUN_VARIABLE;
use crate::trouble::Trouble;
use subject::{Through, complaint};

/// All that is needed to give the subject commands.
#[derive(Debug, Clone)]
pub struct Driver {
    pub(crate) way: Way,
    /// What executes each command.
    pub(crate) through: Option<Arc<Through>>,
    /// The subject's `--root`.
    pub(crate) state: PathBuf,
    pub(crate) run: Arc<str>,
    pub(crate) fault: Option<FaultKind>,
    /// Where what a check asks for is seen, and perhaps mutated.
    pub(crate) tap: Option<Arc<Tap>>,
    /// What it inherits.
    pub(super) caller: Arc<Caller>,
}

impl Driver {
    /// What is asked, as reports call it.
    pub(super) fn name(&self) -> &str {
        self.way.name()
    }

    /// Ends the check as skipped where only a runtime can be asked for something.
    ///
    /// # Errors
    /// The subject is an engine.
    pub fn needs_bundles(&self, what: &str) -> Result<(), Trouble> {
        self.way.runtime(what).map(drop)
    }

    /// Whether the subject mounts a file of its own at a path of each container: an engine's hosts, hostname and resolv.conf.
    pub fn gives(&self, path: &str) -> bool {
        self.way.gives(path)
    }

    /// By what a container's control groups are known.
    ///
    /// # Errors
    /// An engine does not tell its id.
    pub fn group_name(&self, id: &str) -> Result<GroupName, Trouble> {
        self.way.group_name(id)
    }

    /// A command of the subject.
    pub(super) fn command<S: AsRef<str>>(&self, words: &[S]) -> Result<Command, Trouble> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let mut command = self.way.command(&words, self.through.as_deref(), &self.state)?;
        command.env(RUN_VARIABLE, &*self.run);
        self.caller.prepare(&mut command);
        Ok(command)
    }

    /// A command of the subject that inherits one more descriptor, of `path`.
    pub(super) fn leaking(&self, path: &str) -> Result<Command, Trouble> {
        if self.through.is_some() {
            return Err(Trouble::Harness(
                "a subject on a fake host cannot be given one more descriptor".into(),
            ));
        }
        let arguments = vec!["leak".into(), path.into()];
        let through = Through { program: std::env::current_exe()?, called: SANDBOX, arguments };
        let mut command = self.way.runtime("one more descriptor")?.command(Some(&through), &self.state);
        command.env(RUN_VARIABLE, &*self.run);
        Ok(command)
    }

    /// The words of a command as the subject gets them, and whether they are others than the check's.
    pub(super) fn told(&self, words: &[&str]) -> Result<(Vec<String>, bool), Trouble> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        match &self.tap {
            Some(tap) => tap.words(words, self.state.parent().unwrap_or(&self.state)),
            None => Ok((words, false)),
        }
    }

    /// Tells the mutation engine that the subject refused it.
    pub(super) fn refused(&self, why: &str) {
        if let Some(tap) = &self.tap {
            tap.refused(why);
        }
    }

    /// `run` of a bundle: the process, its pid file, and the file of what it complains of.
    pub(super) fn spawn_run(
        &self,
        bundle: &Path,
        id: &str,
        flags: &[&str],
    ) -> Result<(Child, PathBuf, PathBuf), Trouble> {
        let (pid_file, errors) = (bundle.join("pid"), bundle.join("errors"));
        if let Way::Engine(engine) = &self.way {
            if let Some(flag) = flags.first() {
                return Err(Trouble::Skip(format!("{} has no option {flag} of a runtime", engine.name())));
            }
            let child = engine
                .start("run", bundle, id)?
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(std::fs::File::create(&errors)?)
                .spawn()?;
            return Ok((child, pid_file, errors));
        }
        let mut command = match self.fault {
            Some(FaultKind::LeaksDescriptor(path)) => self.leaking(path)?,
            _ => self.command::<&str>(&[])?,
        };
        let words: Vec<&str> = [&["run"], flags].concat();
        let (words, _) = self.told(&words)?;
        command.args(["run", "--bundle"]).arg(bundle).args(&words[1..]);
        if matches!(self.fault, Some(FaultKind::LeaksDescriptor(_))) {
            command.args(["--preserve-fds", "1"]);
        }
        if let Some(FaultKind::RunFlag(flag)) = self.fault {
            command.arg(flag);
        }
        let child = command
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(id)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors)?)
            .spawn()?;
        Ok((child, pid_file, errors))
    }

    /// Runs a command of the subject to its end.
    ///
    /// # Errors
    /// It ended with a failure, or did not end.
    pub fn call(&self, words: &[&str]) -> Result<(), Trouble> {
        if matches!(self.fault, Some(FaultKind::Pretends(command)) if words.first() == Some(&command)) {
            return Ok(());
        }
        let (told, mutated) = self.told(words)?;
        let (ended, output) = finish(self.command(&told)?, &words.join(" "))?;
        ended?;
        if output.status.success() {
            return Ok(());
        }
        if mutated {
            self.refused(&complaint(&output));
        }
        let name = self.name();
        Err(Trouble::Subject(format!("{name} {}: {}", words.join(" "), complaint(&output))))
    }

    /// The same for a command whose container outlives it: no pipe is left for that to hold open.
    ///
    /// # Errors
    /// It ended with a failure, or did not end.
    pub fn call_quietly(&self, words: &[&str]) -> Result<(), Trouble> {
        let mut child = self.spawn(words)?;
        wait_within(child.id().cast_signed(), &words.join(" "))?;
        let status = child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(Trouble::Subject(format!("{} {}: {status}", self.name(), words.join(" "))))
    }

    /// `run` of a bundle, whose standard output the caller reads.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_run_of(&self, bundle: &Path, id: &str) -> Result<Child, Trouble> {
        Ok(self.spawn_run(bundle, id, &[])?.0)
    }

    /// Runs a command of the subject to its end, whatever it says: its exit status, what it printed, and what it
    /// complained of.
    ///
    /// # Errors
    /// It did not end.
    pub fn output(&self, words: &[&str], stdin: Stdio) -> Result<(i32, String, String), Trouble> {
        let (told, mutated) = self.told(words)?;
        let mut command = self.command(&told)?;
        command.stdin(stdin);
        // One that had to be ended has a signal as its status; on a busy host that says nothing.
        let (ended, output) = finish(command, "the command")?;
        if let Err(noise @ Trouble::Noise(_)) = ended {
            return Err(noise);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // A command ended by a signal has no status; as a shell says it.
        let status = output.status;
        let code = status
            .code()
            .unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0));
        if mutated && code != 0 {
            self.refused(&complaint(&output));
        }
        Ok((code, text(&output.stdout), text(&output.stderr)))
    }

    /// Gives a command that should be refused: whether the subject did so, by a status of its own, a reason and in time, and what it said.
    /// What hangs, is killed by a signal or ends without a word has refused nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn refuses(&self, words: &[&str]) -> Result<(bool, String), Trouble> {
        if matches!(self.fault, Some(FaultKind::Pretends(command)) if words.first() == Some(&command)) {
            return Ok((false, String::new()));
        }
        let (status, printed, said) = self.output(words, Stdio::null())?;
        // `docker exec` writes what the runtime said to its standard output.
        let said = if said.trim().is_empty() && matches!(self.way, Way::Engine(_)) { printed } else { said };
        // 101 is a panic of Rust's, and from 129 on it is a signal's end; 255 is what runc's exec says of its own failure.
        let own = status != 0 && status != 101 && !(129..=192).contains(&status);
        Ok((own && !said.trim().is_empty(), format!("exit status {status}: {}", said.trim())))
    }

    /// Starts a command of the subject that the caller watches itself; what it prints is lost.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self, words: &[&str]) -> Result<Child, Trouble> {
        let (told, _) = self.told(words)?;
        Ok(self.command(&told)?.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// `pause`, as the subject (or its fault) does it.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn pause(&self, id: &str) -> Result<(), Trouble> {
        self.unless_dropped(&["pause", id])
    }

    /// `resume`, as the subject (or its fault) does it.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn resume(&self, id: &str) -> Result<(), Trouble> {
        self.unless_dropped(&["resume", id])
    }

    fn unless_dropped(&self, words: &[&str]) -> Result<(), Trouble> {
        if matches!(self.fault, Some(FaultKind::PauseDropped)) { Ok(()) } else { self.call(words) }
    }

    /// The state of a container, as `state` prints it; `None` if there is none.
    ///
    /// # Errors
    /// What it prints is no JSON.
    pub fn state(&self, id: &str) -> Result<Option<Value>, Trouble> {
        if let Way::Engine(engine) = &self.way {
            return engine.state(id);
        }
        let (status, out, _) = self.output(&["state", id], Stdio::null())?;
        if status != 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&out)?))
    }
}
