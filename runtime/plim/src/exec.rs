//! `plim exec`

use std::os::fd::AsFd;

use clap::Args;

use super::shared::Outcome;
use engine::containers::{Engine, Identity, Phase};
use runtime::container::{Container, Exec as Execution};
use runtime::error::{Error, Result};
use runtime::oci::{Capabilities, Process, User};
use runtime::process::signal::Signal;
use runtime::process::supervise::{Signals, watch};
use runtime::process::terminal::Console;
use runtime::process::{descriptors, pidfd, protect, terminal};
use runtime::rootfs::resolve::Root;

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Keep standard input open
    #[arg(long, short)]
    interactive: bool,
    /// Give it a terminal
    #[arg(long, short)]
    tty: bool,
    /// Return once it has started
    #[arg(long, short)]
    detach: bool,
    /// More variables, as NAME=VALUE
    #[arg(long, short, value_name = "VARIABLE")]
    env: Vec<String>,
    /// Working directory
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// User, as USER[:GROUP] by names or numbers
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// All capabilities that the container could have
    #[arg(long)]
    privileged: bool,
    /// Name or id of the container, and a program with its arguments; all that follows the container belongs to the program
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_name = "CONTAINER COMMAND")]
    words: Vec<String>,
}

impl Exec {
    pub(super) fn run(self, engine: &Engine) -> Outcome {
        let own = |error| (error, 1);
        if self.interactive && self.tty && !self.detach {
            super::run::need_terminal().map_err(own)?;
        }
        protect::own_file().map_err(own)?;
        let record = engine.find(&self.words[0]).map_err(own)?;
        if engine.phase(&record.id) == Phase::Paused {
            let error = Error::new(format!("container '{}' is paused", record.name));
            return Err(own(error.remedy(format!("`plim unpause {}` lets it go on", record.name))));
        }
        let container = engine.running(&record).map_err(own)?;
        let process = self.process(&container, &record.config.user).map_err(own)?;
        self.start(&container, &process).map_err(|error| {
            let status = error.kind().exit_status(1);
            (error, status)
        })
    }

    fn start(&self, container: &Container, process: &Process) -> Result<u8> {
        descriptors::close_others(0)?;
        if !self.interactive && !self.tty {
            let null = std::fs::File::open("/dev/null").map_err(|error| Error::new(error.to_string()))?;
            rustix::stdio::dup2_stdin(null.as_fd()).map_err(|error| Error::new(error.to_string()))?;
        }
        let signals = if self.detach { None } else { Some(Signals::block()?) };
        let (ours, theirs) = descriptors::console_pair()?;
        let console = (process.terminal && !self.detach).then_some(theirs);
        let exec = Execution {
            process,
            console: console.as_ref().map(|socket| Console { socket, plain_lines: false }),
            ignore_paused: false,
            cgroup: &[],
        };
        let started = container.exec(&exec)?;
        let Some(signals) = signals else { return Ok(0) };
        let master = if process.terminal { Some(descriptors::receive_console(&ours)?) } else { None };
        let status = watch(&started.child.pidfd, &signals, master.as_ref())?;
        Ok(u8::try_from(status).unwrap_or(u8::MAX))
    }

    /// The container's own process with the user's changes.
    fn process(&self, container: &Container, default_user: &str) -> Result<Process> {
        let mut process = container.spec().process.clone().unwrap_or_default();
        process.args = self.words[1..].to_vec();
        process.terminal = self.tty && !self.detach;
        process.console_size = if self.tty { terminal::size(std::io::stdin()) } else { None };
        for variable in &self.env {
            let name = variable.split('=').next().unwrap_or_default();
            process.env.retain(|entry| entry.split('=').next() != Some(name));
            let value = variable.contains('=').then(|| variable.clone());
            process
                .env
                .extend(value.or_else(|| std::env::var(name).ok().map(|value| format!("{name}={value}"))));
        }
        if let Some(dir) = &self.workdir {
            process.cwd = dir.into();
        }
        let root = Root::open(std::path::Path::new(&format!("/proc/{}/root", container.state().pid)))?;
        let identity = Identity::find(&root, self.user.as_deref().unwrap_or(default_user))?;
        process.user = User {
            uid: identity.uid,
            gid: identity.gid,
            umask: None,
            additional_gids: identity.groups.clone(),
        };
        let mut bounding = process.capabilities.take().unwrap_or_default().bounding;
        if self.privileged {
            bounding = caps::all().into_iter().map(|capability| capability.to_string()).collect();
        }
        let own = if identity.uid == 0 { bounding.clone() } else { Vec::new() };
        process.capabilities = Some(Capabilities {
            bounding,
            effective: own.clone(),
            permitted: own,
            ..Capabilities::default()
        });
        if !process.env.iter().any(|entry| entry.starts_with("HOME=")) || self.user.is_some() {
            process.env.retain(|entry| !entry.starts_with("HOME="));
            process.env.push(format!("HOME={}", identity.home));
        }
        Ok(process)
    }
}

/// A command in a container, with its own user and environment, that is killed when it takes too long: a health check.
#[derive(Debug, Args)]
pub(super) struct Probe {
    /// Milliseconds
    #[arg(long)]
    patience: u64,
    /// Id of the container, and the command
    #[arg(required = true, num_args = 2.., trailing_var_arg = true)]
    words: Vec<String>,
}

impl Probe {
    pub(super) fn run(&self, engine: &Engine) -> Outcome {
        let own = |error| (error, 1);
        protect::own_file().map_err(own)?;
        descriptors::close_others(0).map_err(own)?;
        let container = engine.running(&engine.find(&self.words[0]).map_err(own)?).map_err(own)?;
        let mut process = container.spec().process.clone().unwrap_or_default();
        process.args = self.words[1..].to_vec();
        process.terminal = false;
        process.console_size = None;
        let exec = Execution { process: &process, console: None, ignore_paused: false, cgroup: &[] };
        let started = container.exec(&exec).map_err(|error| {
            let status = error.kind().exit_status(1);
            (error, status)
        })?;
        let child = &started.child.pidfd;
        let patience = std::time::Duration::from_millis(self.patience);
        if pidfd::wait_exit(child.as_fd(), patience).map_err(own)? {
            let status = pidfd::reap(child).map_err(own)?;
            return Ok(u8::try_from(status).unwrap_or(u8::MAX));
        }
        let _ = pidfd::signal(child.as_fd(), Signal::KILL);
        let _ = pidfd::reap(child);
        // Every exit status may be the command's own.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        Ok(1)
    }
}
