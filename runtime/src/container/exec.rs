//! A further process in a container that runs.

use std::os::fd::OwnedFd;

use super::{Container, Status, listener};
use crate::error::{Error, Result};
use crate::oci::{Process, check_process};
use crate::process::Join;
use crate::process::clone::Child;
use crate::process::credentials::{self, CapabilitySets};
use crate::process::seccomp::Filter;
use crate::process::terminal::Console;

/// What to start, and how.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The process; what the container's own has and this lacks is not added.
    pub process: &'a Process,
    /// Where the terminal's master goes.
    pub console: Option<Console<'a>>,
    /// Start it even though it will not run until the container is resumed.
    pub ignore_paused: bool,
    /// Groups below the container's own, see [`crate::cgroup::Group::below`]; none means its own.
    pub cgroup: &'a [String],
}

/// A process started in a container.
#[derive(Debug)]
pub struct Started {
    /// A child of the caller.
    pub child: Child,
    /// What was passed over.
    pub warnings: Vec<String>,
}

impl Container {
    /// Starts a further process in all of the container's namespaces, control groups and restrictions.
    ///
    /// The caller must have a single thread, and can start no other process afterwards.
    ///
    /// # Errors
    /// The container is not running, or the process cannot be started.
    pub fn exec(&self, exec: &Exec<'_>) -> Result<Started> {
        let allowed: &[Status] = if exec.ignore_paused {
            &[Status::Created, Status::Running, Status::Paused]
        } else {
            &[Status::Created, Status::Running]
        };
        self.require(allowed, "exec in")?;
        check_process(exec.process)?;
        exec.process.rlimits.iter().try_for_each(|limit| credentials::resource(&limit.kind).map(drop))?;
        if exec.process.terminal != exec.console.is_some() {
            return Err(Error::new("a terminal needs somebody to get it")
                .remedy("use --tty with --console-socket, or without --detach"));
        }
        let (capabilities, warnings) = CapabilitySets::parse(exec.process.capabilities.as_ref())?;
        let filter = self.record.spec.linux().seccomp.as_ref().map(Filter::compile).transpose()?;
        let group = match exec.cgroup {
            [] => self.group.clone(),
            below => self.group.below(below)?,
        };
        let linux = self.record.spec.linux();
        let ticket = group.ticket(&linux.resources.clone().unwrap_or_default())?;
        let hand_on = |listener: &OwnedFd, pid: i32| {
            listener::hand_on(linux.seccomp.as_ref(), listener, pid, &self.state())
        };
        let child = Join {
            init: self.record.pid,
            process: exec.process,
            ticket: &ticket,
            console: exec.console,
            capabilities: &capabilities,
            filter: filter.as_ref(),
            linux: &linux,
            keyring: self.record.keyring.as_deref(),
            listener: &hand_on,
        }
        .start()?;
        Ok(Started { child, warnings })
    }
}
