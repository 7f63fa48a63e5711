//! A container that exists, and what can be done with it.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, connect, socket};

use super::listener;
use super::state::{Home, Record, State, Status, to_json, with_short_path};
use crate::cgroup::{Group, Layout, Stats};
use crate::error::{Doing, Error, Result};
use crate::namespace::{self, Kind};
use crate::oci::{Resources, Spec};
use crate::process::channel::{Channel, Message};
use crate::process::signal::Signal;
use crate::process::{hooks, pidfd};

/// How long a killed container may take to be gone.
pub(super) const DYING: Duration = Duration::from_secs(10);

/// A container that exists.
#[derive(Debug)]
pub struct Container {
    pub(super) home: Home,
    pub(super) record: Record,
    pub(super) group: Group,
}

impl Container {
    /// Opens a container to look at it.
    ///
    /// # Errors
    /// It does not exist, or is still being made.
    pub fn find(root: &Path, id: &str) -> Result<Self> {
        Self::open(Home::find(root, id)?, id)
    }

    /// Opens a container to change it, after other commands that do so have ended.
    ///
    /// # Errors
    /// Same errors as [`Container::find`].
    pub fn hold(root: &Path, id: &str) -> Result<Self> {
        Self::open(Home::hold(root, id)?, id)
    }

    /// The same, for one who has made it and let others at it since. `None` if one of them deleted it.
    pub fn hold_again(self) -> Option<Self> {
        self.home.hold_again().then_some(self)
    }

    fn open(home: Home, id: &str) -> Result<Self> {
        let record = home.read()?.ok_or_else(|| {
            Error::new(format!("container '{id}' was never finished"))
                .remedy("delete --force removes what is left of it")
        })?;
        let layout = Layout::detect()?;
        let group = Group::at(&layout, &record.cgroups);
        Ok(Self { home, record, group })
    }

    /// The ids of all containers below a root, in order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn ids(root: &Path) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.doing(|| format!("reading {}", root.display()))?,
        };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Its state.
    pub fn status(&self) -> Status {
        match self.record.live_pid() {
            None if self.record.pid == 0 => Status::Creating,
            None => Status::Stopped,
            Some(_) if self.home.socket().exists() => Status::Created,
            Some(_) if self.group.is_frozen() => Status::Paused,
            Some(_) => Status::Running,
        }
    }

    /// Its state as the specification shows it.
    pub fn state(&self) -> State {
        self.record.show(self.status())
    }

    /// Its configuration.
    pub fn spec(&self) -> &Spec {
        &self.record.spec
    }

    /// What its control groups counted.
    pub fn stats(&self) -> Stats {
        self.group.stats()
    }

    /// Directories of its control groups on the host.
    pub fn cgroup_dirs(&self) -> Vec<String> {
        self.group.parts().iter().map(|part| part.dir.display().to_string()).collect()
    }

    /// Its processes, as the caller sees them. Without a group of its own they are those of its PID namespace.
    pub fn processes(&self) -> Vec<i32> {
        if !self.group.parts().is_empty() {
            return self.group.processes();
        }
        match self.record.live_pid() {
            Some(pid) if self.spec().linux().makes(Kind::Pid) => namespace::members(pid, Kind::Pid),
            Some(pid) => vec![pid],
            None => Vec::new(),
        }
    }

    /// Starts the application of a created container.
    ///
    /// # Errors
    /// It was started before, or the application cannot be executed.
    pub fn start(&self) -> Result<()> {
        self.require(&[Status::Created], "start")?;
        let doing = || "asking the container to start";
        let socket =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).doing(doing)?;
        with_short_path(&self.home, |address| connect(socket.as_raw_fd(), address)).doing(doing)?;
        std::fs::remove_file(self.home.socket()).doing(|| "removing the start socket")?;
        // The other end is closed by execve(2), and only by that does it stay silent.
        let channel = Channel::from_socket(socket);
        loop {
            match channel.receive_with_file()? {
                Some((Message::Failed(kind, reason), _)) => return Err(Error::new(reason).of_kind(kind)),
                Some((Message::Listener, Some(listener))) => {
                    let state = self.record.show(Status::Created);
                    let linux = self.record.spec.linux();
                    self.or_stop(listener::hand_on(
                        linux.seccomp.as_ref(),
                        &listener,
                        self.record.pid,
                        &state,
                    ))?;
                }
                _ => break,
            }
        }
        self.after_start()
    }

    /// Runs the hooks that follow the start. If one fails, the container is stopped, as the specification asks.
    pub(crate) fn after_start(&self) -> Result<()> {
        let Some(wanted) = &self.record.spec.hooks else { return Ok(()) };
        if wanted.poststart.is_empty() {
            return Ok(());
        }
        self.or_stop(
            to_json(&self.state()).and_then(|state| hooks::run("poststart", &wanted.poststart, &state)),
        )
    }

    /// Kills the first process if a step failed.
    pub(super) fn or_stop(&self, outcome: Result<()>) -> Result<()> {
        if outcome.is_err()
            && let Ok(process) = pidfd::open(self.record.pid)
        {
            let _ = pidfd::signal(process.as_fd(), Signal::KILL);
            let _ = pidfd::wait_exit(process.as_fd(), DYING);
        }
        outcome
    }

    /// Sends a signal to the first process, or to all.
    ///
    /// # Errors
    /// The container is not running.
    pub fn kill(&self, signal: impl Into<Signal>, all: bool) -> Result<()> {
        let signal = signal.into();
        if all {
            self.group.signal_all(signal);
            return Ok(());
        }
        self.require(&[Status::Created, Status::Running, Status::Paused], "kill")?;
        let process = pidfd::open(self.record.pid)?;
        pidfd::signal(process.as_fd(), signal)?;
        // A frozen process on v1 would keep its SIGKILL until it is thawed.
        if signal == Signal::KILL && self.group.is_frozen() {
            self.group.set_frozen(false)?;
        }
        Ok(())
    }

    /// Freezes every process.
    ///
    /// # Errors
    /// It is not running, or a process does not stop.
    pub fn pause(&self) -> Result<()> {
        self.require(&[Status::Created, Status::Running], "pause")?;
        self.group.set_frozen(true)
    }

    /// Lets frozen processes go on.
    ///
    /// # Errors
    /// It is not paused.
    pub fn resume(&self) -> Result<()> {
        self.require(&[Status::Paused], "resume")?;
        self.group.set_frozen(false)
    }

    /// Changes limits of a live container, all or none. Zeros and empty texts ask for nothing; device rules stay what they are, as
    /// under runc: engines send them again with every change.
    ///
    /// # Errors
    /// The kernel refuses one; then all are as they were.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        self.require(&[Status::Created, Status::Running, Status::Paused], "update")?;
        resources.check_names()?;
        let resources = Resources { devices: Vec::new(), ..resources.clone() }.without_zeros();
        self.group.change(&resources)
    }

    /// Removes a stopped container, or with `force` any: its processes are killed first.
    ///
    /// # Errors
    /// It still runs, or something of it cannot be removed.
    pub fn delete(self, force: bool) -> Result<()> {
        self.delete_with(force, &mut |_| {})
    }

    /// The same; `warn` is told of hooks that failed, which changes nothing else.
    ///
    /// # Errors
    /// Same errors as [`Container::delete`].
    pub fn delete_with(self, force: bool, warn: &mut dyn FnMut(&str)) -> Result<()> {
        let status = self.status();
        if matches!(status, Status::Running | Status::Paused) && !force {
            return Err(Error::new(format!("cannot delete container '{}' that is {status}", self.record.id))
                .remedy("stop it with kill, or use delete --force"));
        }
        if let Some(pid) = self.record.live_pid()
            && let Ok(process) = pidfd::open(pid)
        {
            let _ = pidfd::signal(process.as_fd(), Signal::KILL);
            if self.group.is_frozen() {
                self.group.set_frozen(false)?;
            }
            pidfd::wait_exit(process.as_fd(), DYING)?;
        }
        // Without a PID namespace the first process does not take the others with it.
        if !self.group.remove_empty() {
            self.group.kill()?;
            self.group.remove()?;
        }
        self.home.remove()?;
        run_poststop(&self.record, warn)
    }

    /// Removes a container whose making or record was cut short.
    ///
    /// # Errors
    /// Nothing of that name exists.
    pub fn delete_remains(root: &Path, id: &str) -> Result<()> {
        Home::hold(root, id)?.remove()
    }

    pub(super) fn require(&self, allowed: &[Status], action: &str) -> Result<()> {
        let status = self.status();
        if allowed.contains(&status) {
            return Ok(());
        }
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        // containerd and Docker look for these words to tell a container that has ended from one that cannot be signalled.
        let known = if status == Status::Stopped { ": container not running" } else { "" };
        Err(Error::new(format!("cannot {action} container '{}' that is {status}{known}", self.record.id))
            .remedy(format!("it must be {}", allowed.join(" or "))))
    }
}

/// Runs the hooks that follow a container's end, all of them.
pub(super) fn run_poststop(record: &Record, warn: &mut dyn FnMut(&str)) -> Result<()> {
    let Some(wanted) = record.spec.hooks.as_ref().filter(|hooks| !hooks.poststop.is_empty()) else {
        return Ok(());
    };
    let state = to_json(&record.show(Status::Stopped))?;
    for error in hooks::run_all("poststop", &wanted.poststop, &state) {
        warn(&error.to_string());
    }
    Ok(())
}
