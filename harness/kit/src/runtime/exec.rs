//! Further processes of a container.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use probe::Ask;
use probe::channel::Channel;
use probe::verbs::look;
use subject::complaint;

use super::container::Container;
use super::start::read_pid;
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
                let mut command = match self.driver.fault {
                    Some(FaultKind::LeaksDescriptor(path)) => {
                        options.extend(["--preserve-fds".to_owned(), "1".to_owned()]);
                        self.driver.leaking(path)?
                    }
                    _ => self.driver.command(),
                };
                let words: Vec<&str> =
                    ["exec"].into_iter().chain(options.iter().map(String::as_str)).collect();
                let (words, done) = self.driver.told(&words)?;
                mutated = done;
                command.args(["exec", "--pid-file"]).arg(&pid_file).args(&words[1..]);
                command.arg(&self.id).args(["/probe", "serve"]);
                command
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
        Ok(Exec { pid: read_pid(&pid_file)?, child, channel })
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
