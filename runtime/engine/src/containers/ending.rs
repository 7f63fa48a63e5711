//! How containers end: waited for, stopped, removed.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use super::claim::Claim;
use super::engine::Engine;
use super::ids::now;
use super::record::{Phase, Record};
use super::watch_lock;
use runtime::container::{Container, Status};
use runtime::error::{Doing, Error, Result};
use runtime::process::pidfd;
use runtime::process::signal::Signal;

impl Engine {
    /// Waits until a container has ended and nothing is left of its run; `None` if it has not within the patience.
    ///
    /// # Errors
    /// Its lock cannot be opened.
    pub fn wait(&self, record: &Record, patience: Option<Duration>) -> Result<Option<i32>> {
        let mut lock = watch_lock::open(&self.dir(&record.id).join("lock"))?;
        // Its first process is the first to go; only then it is worth to wait for the watcher.
        if let Some(patience) = patience
            && let Ok(process) = pidfd::open(self.state(&record.id).pid)
            && !pidfd::wait_exit(process.as_fd(), patience)?
        {
            return Ok(None);
        }
        watch_lock::await_free(&lock)?;
        // The watcher's last word stands in the lock itself: a container that removes itself leaves nothing else.
        let mut text = String::new();
        lock.read_to_string(&mut text).doing(|| format!("waiting for container '{}'", record.name))?;
        Ok(Some(text.trim().parse().unwrap_or_else(|_| self.state(&record.id).exit_code.unwrap_or(0))))
    }

    /// Asks a container to end, and kills it when it has not within the grace time. Returns its exit status.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn stop(&self, record: &Record, grace: Duration) -> Result<i32> {
        if let Ok(container) = self.running(record) {
            let signal = record.config.stop_signal.as_deref().unwrap_or("SIGTERM");
            let process = pidfd::open(self.state(&record.id).pid);
            if container.status() == Status::Paused {
                container.resume()?;
            }
            // It may end by itself at any moment, and then there is nobody left to ask.
            let _ = container.kill(parse_signal(signal)?, false);
            if let Ok(process) = process
                && !pidfd::wait_exit(process.as_fd(), grace)?
            {
                let _ = container.kill(Signal::KILL, false);
            }
        }
        Ok(self.wait(record, None)?.unwrap_or(0))
    }

    /// Removes a container; with `force` it is killed first, with `volumes` its own unnamed volumes go too.
    ///
    /// # Errors
    /// It runs, or something cannot be removed.
    pub fn remove(&self, record: &Record, force: bool, volumes: bool) -> Result<()> {
        // Others may wait for the lock of all containers while they need this one, so the container comes first.
        let _alone = loop {
            if matches!(self.phase(&record.id), Phase::Running | Phase::Paused) {
                if !force {
                    return Err(Error::new(format!("container '{}' is running", record.name))
                        .remedy(format!("`plim stop {0}` first, or `plim rm -f {0}`", record.name)));
                }
                match self.stop(record, Duration::ZERO) {
                    // Once it has ended, others may remove it as well.
                    Err(_) if !self.dir(&record.id).exists() => return Ok(()),
                    stopped => drop(stopped?),
                }
            }
            if let Some(alone) = self.alone(record, force)? {
                break alone;
            }
            let lock = self.dir(&record.id).join("lock");
            if !lock.exists() {
                return Ok(());
            }
            if !self.is_watched(&record.id) {
                return Err(Error::new(format!("container '{}' is in use by another command", record.name))
                    .remedy(format!("wait for that command, or use `plim rm -f {}`", record.name)));
            }
            // Its run is being cleared away, or somebody copies from it; if it was started meanwhile, that is seen above.
            if !matches!(self.phase(&record.id), Phase::Running | Phase::Paused)
                && let Ok(lock) = watch_lock::open(&lock)
            {
                watch_lock::await_free(&lock)?;
            }
        };
        if Container::find(&self.run, &record.id).is_ok() {
            self.bury(record)?;
        }
        let _lock = self.lock()?;
        self.erase(record, volumes)
    }

    /// Removes what a container has on disk. The record goes first: without it the rest counts for nothing.
    pub(crate) fn erase(&self, record: &Record, volumes: bool) -> Result<()> {
        let dir = self.dir(&record.id);
        let aside = self.store.temporary("container");
        match fs::rename(&dir, &aside) {
            // Another command was faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.doing(|| format!("removing container '{}'", record.name))?,
        }
        fs::remove_dir_all(&aside).doing(|| format!("removing the files of container '{}'", record.name))?;
        // Another container may use them, if it is not known what one uses.
        if volumes && self.damaged()?.is_empty() {
            for mount in record.mounts.iter().filter(|mount| mount.anonymous) {
                if let Some(name) = &mount.name {
                    self.volumes.remove(name, &self.users_of_volume(name)?)?;
                }
            }
        }
        Ok(())
    }

    /// Removes a container that nobody but the caller knows of.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub(crate) fn discard(&self, record: &Record, claim: Claim) -> Result<()> {
        let _lock = self.lock()?;
        let erased = self.erase(record, true);
        // Not before: without it, this would be a step that nobody finishes.
        drop(claim);
        erased
    }

    /// Removes what a run has left whose watcher was killed: processes, control groups, network.
    pub(crate) fn bury(&self, record: &Record) -> Result<()> {
        if let Ok(container) = Container::hold(&self.run, &record.id) {
            container.delete(true)?;
        }
        let mut state = self.state(&record.id);
        self.leave_network(record, &mut state)?;
        state.pid = 0;
        state.finished = Some(now());
        state.exit_code = Some(137);
        self.write_state(&record.id, &state)
    }
}

/// A signal by its name, with or without `SIG`, or by its number.
///
/// # Errors
/// There is no such signal.
pub fn parse_signal(text: &str) -> Result<Signal> {
    match text.parse::<Signal>()? {
        // It would stop nobody.
        signal if signal.number() == 0 => Err(Error::new("signal 0 is never delivered")),
        signal => Ok(signal),
    }
}
