//! Who works on a container keeps it: between its making and its start, while it is copied from or committed, and for all of a
//! step of a build no process of it need live, and nothing else would tell `prune` and `repair` that somebody needs it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::Engine;
use super::record::Record;
use super::watch_lock;
use crate::lock;
use runtime::container::Container;
use runtime::error::{Error, Result};

const FILE: &str = "claim";

/// Shared lock that keeps a container from being removed. Released when its holder exits, however that ends.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "the lock goes when it is dropped")] Flock<File>);

/// Held by the one who removes or clears a container: nobody else has a [`Claim`], and no process watches it.
#[derive(Debug)]
pub(super) struct Alone {
    _claim: Flock<File>,
    _watch: File,
}

impl Claim {
    /// The first claim, in the directory of a container that nobody knows of yet.
    pub(super) fn first(dir: &Path) -> Result<Self> {
        lock::wait(&dir.join(FILE), FlockArg::LockShared).map(Self)
    }
}

impl Engine {
    /// Keeps a container from being removed. Waits while somebody is removing it.
    ///
    /// # Errors
    /// It is gone.
    pub fn claim(&self, record: &Record) -> Result<Claim> {
        let path = self.dir(&record.id).join(FILE);
        let gone = || {
            Error::new(format!("container '{}' was removed by another command", record.name))
                .remedy("`plim ps -a` lists those that are there")
        };
        let held = lock::wait(&path, FlockArg::LockShared).map_err(|_| gone())?;
        if is_at(&held, &path) { Ok(Claim(held)) } else { Err(gone()) }
    }

    /// Takes a container for oneself; `None` if somebody needs it, watches it or has removed it. With `wait`, those who need it are
    /// waited for.
    pub(super) fn alone(&self, record: &Record, wait: bool) -> Result<Option<Alone>> {
        let path = self.dir(&record.id).join(FILE);
        let held =
            if wait { lock::wait(&path, FlockArg::LockExclusive).map(Some) } else { lock::alone(&path) };
        let held = match held {
            Ok(Some(held)) if is_at(&held, &path) => held,
            Err(error) if path.parent().is_some_and(Path::exists) => return Err(error),
            _ => return Ok(None),
        };
        let Ok(watch) = watch_lock::open(&self.dir(&record.id).join("lock")) else { return Ok(None) };
        if !watch_lock::hold(&watch)? {
            return Ok(None);
        }
        Ok(Some(Alone { _claim: held, _watch: watch }))
    }

    /// Clears away what a killed watcher left of a run, unless there is nothing, or somebody watches the container or needs it. Says
    /// whether it did.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub(super) fn bury_if_dead(&self, record: &Record) -> Result<bool> {
        let Some(_alone) = self.alone(record, false)? else { return Ok(false) };
        let is_left =
            Container::find(&self.run, &record.id).is_ok() || self.state(&record.id).device.is_some();
        if is_left {
            self.bury(record)?;
        }
        Ok(is_left)
    }

    /// Removes a container that does not run and that nobody needs. Says whether it did.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn remove_unused(&self, record: &Record, volumes: bool) -> Result<bool> {
        self.bury_if_dead(record)?;
        let _lock = self.lock()?;
        let Some(_alone) = self.alone(record, false)? else { return Ok(false) };
        if Container::find(&self.run, &record.id).is_ok() {
            return Ok(false);
        }
        self.erase(record, volumes).map(|()| true)
    }
}

/// Whether a path still names a file that was opened.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |there: std::fs::Metadata| {
        file.metadata().is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()))
    };
    std::fs::metadata(path).is_ok_and(same)
}
