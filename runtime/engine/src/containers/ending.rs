//! How containers end: waited for, stopped, removed.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::claim::Claim;
use super::engine::Engine;
use super::ids::{STOPPED, now};
use super::record::Record;
use super::restart::Restart;
use super::watch_lock;
use runtime::container::{Container, Status};
use runtime::error::{Doing, Error, Result};
use runtime::process::pidfd;
use runtime::process::signal::Signal;
use runtime::rights;

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
        // The monitor writes the exit status into the lock file: a container that removes itself leaves nothing else.
        let mut text = String::new();
        lock.read_to_string(&mut text).doing(|| format!("waiting for container '{}'", record.name))?;
        Ok(Some(text.trim().parse().unwrap_or_else(|_| self.state(&record.id).exit_code.unwrap_or(0))))
    }

    /// Waits until a container has ended, also when its policy starts it again. Returns its exit status.
    ///
    /// # Errors
    /// Same errors as [`Engine::wait`].
    pub fn wait_run(&self, record: &Record) -> Result<i32> {
        if record.host.restart == Restart::No {
            return Ok(self.wait(record, None)?.unwrap_or(0));
        }
        let before = self.state(&record.id);
        if let Ok(process) = pidfd::open(before.pid)
            && before.pid != 0
        {
            pidfd::wait_exit(process.as_fd(), Duration::MAX)?;
        }
        // The watcher notes how it ended before it starts it again.
        let dir = self.dir(&record.id);
        let watch = changes_of(&dir).doing(|| format!("waiting for container '{}'", record.name))?;
        loop {
            let state = self.state(&record.id);
            if !dir.exists()
                || !self.is_watched(&record.id)
                || (state.pid != before.pid && state.exit_code.is_some())
            {
                return Ok(state.exit_code.unwrap_or(0));
            }
            let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
            // A lock that goes with its holder tells nobody: the second look is for a watcher that was killed.
            let _ = poll(&mut fds, PollTimeout::from(1000_u16));
            while watch.read_events().is_ok() {}
        }
    }

    /// Asks a container to end, and kills it when it has not within the grace time. Returns its exit status.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn stop(&self, record: &Record, grace: Duration) -> Result<i32> {
        self.by_hand(record);
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
            let status = self.wait(record, None)?.unwrap_or(0);
            self.tell(record, "stop", &[]);
            return Ok(status);
        }
        Ok(self.wait(record, None)?.unwrap_or(0))
    }

    /// Notes that somebody ends the container, so that it is not started again.
    pub fn by_hand(&self, record: &Record) {
        // Without room on the disk it is started again, which the next attempt ends.
        let _ = rights::write_private(&self.dir(&record.id).join(STOPPED), b"");
    }

    /// Whether it was ended by hand since it was started.
    pub fn was_stopped(&self, id: &str) -> bool {
        self.dir(id).join(STOPPED).exists()
    }

    /// Removes a container; with `force` it is killed first, with `volumes` its own unnamed volumes go too.
    ///
    /// # Errors
    /// It runs, or something cannot be removed.
    pub fn remove(&self, record: &Record, force: bool, volumes: bool) -> Result<()> {
        // Others may wait for the lock of all containers while they need this one, so the container comes first.
        let _alone = loop {
            if self.phase(&record.id).is_up() {
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
            if !self.phase(&record.id).is_up()
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
        self.tell(record, "destroy", &[]);
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

/// Tells of files that appear in a directory.
fn changes_of(dir: &Path) -> nix::Result<Inotify> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    watch.add_watch(
        dir,
        AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MOVE_SELF,
    )?;
    Ok(watch)
}
