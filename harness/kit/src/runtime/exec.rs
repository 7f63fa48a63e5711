//! Further processes of a container.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use probe::Ask;
use probe::channel::Channel;
use probe::verbs::look;
use subject::complaint;

use super::container::Container;
use super::pid_file::read_pid;
use super::through_engine::sibling;
use super::way::Way;
use crate::fault::FaultKind;
use crate::patience::wait_within;
use crate::role::SANDBOX;
use crate::run::RUN_VARIABLE;
use crate::trouble::Trouble;

/// A further process of a container.
#[derive(Debug)]
pub struct Exec {
    /// As the host sees it.
    pub pid: i32,
    child: Child,
    channel: Channel,
}

impl Exec {
    /// Asks the probe.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn ask<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        Ok(self.channel.ask(request)?)
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.channel.hang_up();
        if wait_within(self.child.id().cast_signed(), "exec").is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Container {
    /// `exec` of a further probe, as the subject (or its fault) does it.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn exec(&self) -> Result<Exec, Trouble> {
        self.exec_with(&[])
    }

    /// `exec` of a further probe with these options, as the subject (or its fault) does it.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn exec_with(&self, options: &[&str]) -> Result<Exec, Trouble> {
        let pid_file = self.errors.with_file_name("exec.pid");
        let _ = std::fs::remove_file(&pid_file);
        let mut mutated = false;
        let mut command = match self.driver.fault {
            Some(FaultKind::ExecSkips(kind)) => self.broken_exec(kind.file(), true, &pid_file)?,
            Some(FaultKind::ExecKeepsPrivilege) => self.broken_exec("none", true, &pid_file)?,
            Some(FaultKind::ExecOutsideCgroups) => self.broken_exec("none", false, &pid_file)?,
            _ => {
                let mut options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
                if let Some(FaultKind::ExecOptions(change)) = self.driver.fault {
                    change(&pid_file.with_file_name(""), &mut options)?;
                }
                let words: Vec<&str> =
                    ["exec"].into_iter().chain(options.iter().map(String::as_str)).collect();
                let (words, done) = self.driver.told(&words)?;
                mutated = done;
                self.exec_command(&words[1..], &pid_file)?
            }
        };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut channel = Channel::new(&mut child)?;
        if let Err(error) = channel.ask(look::alive()) {
            let _ = child.kill();
            let output = child.wait_with_output()?;
            if mutated {
                self.driver.refused(&complaint(&output));
            }
            return Err(Trouble::Subject(format!("exec: {} ({error})", complaint(&output))));
        }
        let pid = match self.driver.way {
            Way::Engine(_) if self.driver.fault.is_none_or(|fault| !fault.replaces_exec()) => {
                let inner = channel.ask(look::identity())?.pid;
                let pid = sibling(self.pid, inner);
                pid.ok_or_else(|| Trouble::Harness(format!("no process is {inner} in the container")))?
            }
            _ => read_pid(&pid_file)?,
        };
        Ok(Exec { pid, child, channel })
    }

    /// `exec` of a probe with these options, in the subject's words.
    fn exec_command(&self, options: &[String], pid_file: &Path) -> Result<Command, Trouble> {
        let pid_file = pid_file.display().to_string();
        let options = options.iter().map(String::as_str);
        let rest = [self.id.as_str(), "/probe", "serve"];
        if matches!(self.driver.way, Way::Engine(_)) {
            let words: Vec<&str> = ["exec"].into_iter().chain(options).chain(rest).collect();
            return self.driver.command(&words);
        }
        let leaks = match self.driver.fault {
            Some(FaultKind::LeaksDescriptor(path)) => Some(path),
            _ => None,
        };
        let mut command = match leaks {
            Some(path) => self.driver.leaking(path)?,
            None => self.driver.command::<&str>(&[])?,
        };
        command.args(["exec", "--pid-file", &pid_file]).args(options);
        if leaks.is_some() {
            command.args(["--preserve-fds", "1"]);
        }
        command.args(rest);
        Ok(command)
    }

    /// An exec that does not do what it should: a helper of ours instead of the subject.
    fn broken_exec(&self, skip: &str, join_cgroups: bool, pid_file: &Path) -> Result<Command, Trouble> {
        let mut command = Command::new(std::env::current_exe()?);
        let cgroups = if join_cgroups { "join" } else { "stay" };
        command.arg0(SANDBOX).args(["exec", &self.pid.to_string(), skip, cgroups]).arg(pid_file);
        command.env(RUN_VARIABLE, &*self.driver.run);
        Ok(command)
    }

    /// A process that joins the container and executes the harness's own file there, as a runtime without protection
    /// would execute its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn exec_own_file(&self) -> Result<(), Trouble> {
        let pid_file = self.errors.with_file_name("own.pid");
        let mut command = self.broken_exec("none", true, &pid_file)?;
        command.args(["/proc/self/exe", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        Ok(())
    }
}
