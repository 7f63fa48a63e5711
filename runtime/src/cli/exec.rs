//! `plim-runtime exec`

use std::path::{Path, PathBuf};

use clap::Args;

use super::shared::{Outcome, PidFile};
use super::{log::Log, terminal};
use crate::bounded;
use crate::container::{self, Container};
use crate::error::{Error, Result};
use crate::oci::{Capabilities, Process, parse_id};
use crate::process::supervise::{Signals, watch};
use crate::process::terminal::Console;

#[derive(Debug, Args)]
#[command(override_usage = "plim-runtime exec [OPTIONS] <CONTAINER-ID> [COMMAND]...")]
pub(super) struct Exec {
    /// UNIX socket that gets the master of the process's terminal
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// More environment, as NAME=value
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short)]
    tty: bool,
    /// Numeric user, as UID[:GID]
    #[arg(long, short, value_name = "UID[:GID]")]
    user: Option<String>,
    /// More groups
    #[arg(long, short = 'g', value_name = "GID", allow_negative_numbers = true, value_parser = parse_id)]
    additional_gids: Vec<u32>,
    /// JSON file with the whole process, instead of arguments
    #[arg(long, short, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return once it has started
    #[arg(long, short)]
    detach: bool,
    /// Where its host PID is written
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Never let it gain rights by execve
    #[arg(long)]
    no_new_privs: bool,
    /// More capabilities
    #[arg(long, short, value_name = "CAP")]
    cap: Vec<String>,
    /// How many descriptors after 0, 1, 2 it gets
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Start it in a paused container, where it waits for resume
    #[arg(long)]
    ignore_paused: bool,
    /// UNIX socket that gets the process's pidfd
    #[arg(long, value_name = "PATH")]
    pidfd_socket: Option<PathBuf>,
    /// Start it in a group below the container's: PATH, or on v1 CONTROLLER[,CONTROLLER]:PATH
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Name of the container, then program and arguments. Whatever follows the name is the program's, options too
    // One list for both: options end with its first word, whatever the others look like.
    #[arg(value_name = "CONTAINER-ID [COMMAND]", required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

impl Exec {
    pub(super) fn run(&self, root: &Path, log: &Log) -> Outcome {
        let (id, command) = self
            .words
            .split_first()
            .ok_or_else(|| Error::new("exec needs the name of a container, and a command"))?;
        let container = Container::find(root, id)?;
        let process = self.process(&container, command)?;
        terminal::close_other_fds(self.preserve_fds)?;
        // A FIFO waits for its reader, so it is opened while signals still end the command.
        let pid_file = PidFile::open(self.pid_file.as_ref())?;
        let connected = self.console_socket.as_deref().filter(|_| process.terminal);
        let connected = connected.map(terminal::connect).transpose()?;
        let signals = if self.detach { None } else { Some(Signals::block()?) };
        let (ours, theirs) = terminal::pair()?;
        let shows = process.terminal && !self.detach && self.console_socket.is_none();
        let console = connected.or_else(|| shows.then_some(theirs));
        let wanted = container::Exec {
            process: &process,
            console: console
                .as_ref()
                .map(|socket| Console { socket, plain_lines: self.console_socket.is_none() }),
            ignore_paused: self.ignore_paused,
            cgroup: &self.cgroup,
        };
        let started = container.exec(&wanted)?;
        started.warnings.iter().for_each(|warning| log.warning(warning));
        terminal::send_pidfd(self.pidfd_socket.as_deref(), "setns", &started.child.pidfd)?;
        pid_file.write(started.child.pid)?;
        let Some(signals) = signals else { return Ok(0) };
        let master = if process.terminal && self.console_socket.is_none() {
            Some(terminal::receive(&ours)?)
        } else {
            None
        };
        let status = watch(&started.child.pidfd, &signals, master.as_ref())?;
        Ok(u8::try_from(status).unwrap_or(u8::MAX))
    }

    /// What to run: the file's process as it is, or the container's own with the arguments' changes.
    fn process(&self, container: &Container, command: &[String]) -> Result<Process> {
        if let Some(path) = &self.process {
            let text = bounded::read(path, bounded::LARGEST_DOCUMENT)
                .map_err(|error| Error::new(format!("--process: {error}")))?;
            return serde_json::from_slice(&text)
                .map_err(|error| Error::new(format!("--process: {}: {error}", path.display())));
        }
        if command.is_empty() {
            return Err(
                Error::new("exec needs a command").remedy("plim-runtime exec CONTAINER-ID COMMAND [ARG...]")
            );
        }
        let mut process = container.spec().process.clone().unwrap_or_default();
        process.args = command.to_vec();
        process.terminal = self.tty;
        for variable in &self.env {
            replace_variable(&mut process.env, variable);
        }
        if let Some(cwd) = &self.cwd {
            process.cwd.clone_from(cwd);
        }
        if let Some(user) = &self.user {
            (process.user.uid, process.user.gid) = parse_user(user, process.user.gid)?;
        }
        process.user.additional_gids.extend(&self.additional_gids);
        process.no_new_privileges |= self.no_new_privs;
        if let Some(label) = &self.process_label {
            process.selinux_label = Some(label.clone());
        }
        if let Some(profile) = &self.apparmor {
            process.apparmor_profile = Some(profile.clone());
        }
        if !self.cap.is_empty() {
            let sets = process.capabilities.get_or_insert_with(Capabilities::default);
            for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
                set.extend(self.cap.iter().cloned());
            }
            // Ambient ones must be inheritable too, which they do not become by this option.
            let inheritable = self.cap.iter().filter(|cap| sets.inheritable.contains(cap));
            sets.ambient.extend(inheritable.cloned());
        }
        Ok(process)
    }
}

/// Sets a variable; one of the same name gives way to it.
fn replace_variable(env: &mut Vec<String>, variable: &str) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let new = name(variable);
    env.retain(|entry| name(entry) != new);
    env.push(variable.to_owned());
}

fn parse_user(text: &str, gid: u32) -> Result<(u32, u32)> {
    let number = |part: &str| {
        parse_id(part).map_err(|error| {
            Error::new(format!("--user '{}': {error}", text.escape_debug()))
                .remedy("give UID or UID:GID in numbers")
        })
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, number(gid)?)),
        None => Ok((number(text)?, gid)),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_user, replace_variable};

    #[test]
    fn users_are_numbers() {
        assert_eq!(parse_user("5", 7).unwrap(), (5, 7));
        assert_eq!(parse_user("5:6", 7).unwrap(), (5, 6));
        for wrong in ["www-data", "", ":5", "5:", "-1", "5:-1", "4294967295", "5:2147483648", "5:6:7"] {
            assert!(parse_user(wrong, 7).unwrap_err().to_string().contains("--user"), "{wrong}");
        }
    }

    #[test]
    fn a_variable_is_replaced_and_not_given_twice() {
        let mut env = ["A=1", "AB=2", "A=3"].map(str::to_owned).to_vec();
        replace_variable(&mut env, "A=4");
        assert_eq!(env, ["AB=2", "A=4"]);
    }
}
