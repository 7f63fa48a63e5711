//! A data root, and what is known of its containers.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::record::{Phase, Record, State};
use super::watch_lock;
use crate::image::Store;
use crate::lock;
use crate::network::Networks;
use crate::volume::Volumes;
use runtime::bounded;
use runtime::container::{Container, Status};
use runtime::error::{Doing, Error, Result};
use runtime::rights;

/// What a state is filled up to, in bytes: a block of most file systems.
const STATE_ROOM: usize = 4096;

/// Writes over a file that is as long as its new content, which takes no room.
fn overwrite(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    File::options().write(true).open(path)?.write_all_at(content, 0)
}

/// A data root, and all that is in it.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Where everything is kept.
    pub data: PathBuf,
    /// Where the states of running containers are.
    pub run: PathBuf,
    /// Images.
    pub store: Store,
    /// Volumes.
    pub volumes: Volumes,
    /// Networks.
    pub networks: Networks,
    /// The program that watches containers and carries their ports.
    pub helper: Helper,
}

/// A program that understands the engine's hidden commands `monitor` and `proxy`.
#[derive(Debug, Clone)]
pub struct Helper {
    /// Its file.
    pub program: PathBuf,
    /// What it is called as.
    pub name: String,
}

impl Engine {
    /// Opens a data root, or makes one.
    ///
    /// # Errors
    /// The data root cannot be created, or the caller lacks permission.
    pub fn open(data: &Path, run: &Path, helper: Helper) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::new(
                "plim needs root: it mounts layers and makes devices, networks and control groups",
            )
            .remedy("use sudo; `plim-runtime` runs containers without root"));
        }
        let store = Store::open(data)?;
        let data = data.canonicalize().doing(|| format!("opening {}", data.display()))?;
        rights::private_dir(&data.join("containers")).doing(|| "making the directory of containers")?;
        rights::private_dir(run).doing(|| format!("making {}", run.display()))?;
        let store = if store.root() == data { store } else { Store::open(&data)? };
        Ok(Self {
            volumes: Volumes::open(&data)?,
            networks: Networks::open(&data)?,
            store,
            run: run.to_owned(),
            data,
            helper,
        })
    }

    /// Where the root is when nobody names one.
    pub fn default_data() -> PathBuf {
        PathBuf::from("/var/lib/plim")
    }

    /// Runtime state directory for a data root; each root gets its own.
    pub fn default_run(data: &Path) -> PathBuf {
        if data == Self::default_data() {
            return PathBuf::from("/run/plim");
        }
        data.join("run")
    }

    /// The directory of a container.
    pub fn dir(&self, id: &str) -> PathBuf {
        self.data.join("containers").join(id)
    }

    /// Serialises creation and removal of containers, and removal of images.
    pub(crate) fn lock(&self) -> Result<Flock<File>> {
        lock::wait(&self.data.join("containers.lock"), FlockArg::LockExclusive)
    }

    /// All containers, the newest first.
    ///
    /// # Errors
    /// The directory cannot be read. A container without a record is left out; `plim system check` removes it.
    pub fn containers(&self) -> Result<Vec<Record>> {
        let dir = self.data.join("containers");
        let entries = fs::read_dir(&dir).doing(|| format!("reading {}", dir.display()))?;
        let mut all: Vec<Record> =
            entries.flatten().filter_map(|entry| read_json(&entry.path().join("record.json")).ok()).collect();
        all.sort_by(|one, other| other.created.cmp(&one.created));
        Ok(all)
    }

    /// Ids of containers whose records are there and cannot be read, and why not. What these use is not known.
    ///
    /// # Errors
    /// The containers cannot be listed.
    pub fn damaged(&self) -> Result<Vec<(String, Error)>> {
        let dir = self.data.join("containers");
        let entries = fs::read_dir(&dir).doing(|| format!("reading {}", dir.display()))?;
        let mut damaged = Vec::new();
        for entry in entries.flatten() {
            match read_json::<Record>(&entry.path().join("record.json")) {
                // It is being made, or was just removed.
                Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
                Err(error) => damaged.push((entry.file_name().to_string_lossy().into_owned(), error)),
                Ok(_) => {}
            }
        }
        Ok(damaged)
    }

    /// The container of a name, or of the beginning of an id.
    ///
    /// # Errors
    /// There is none, or several begin so.
    pub fn find(&self, wanted: &str) -> Result<Record> {
        let mut all = self.containers()?;
        if let Some(position) = all.iter().position(|record| record.name == wanted || record.id == wanted) {
            return Ok(all.swap_remove(position));
        }
        if !wanted.is_empty() {
            all.retain(|record| record.id.starts_with(wanted));
        } else {
            all.clear();
        }
        match all.len() {
            1 => Ok(all.remove(0)),
            0 => {
                Err(Error::new(format!("there is no container '{wanted}'"))
                    .remedy("`plim ps -a` lists them all"))
            }
            several => {
                Err(Error::new(format!("{several} containers have an id that begins with '{wanted}'"))
                    .remedy("give more digits"))
            }
        }
    }

    /// State of a container.
    pub fn state(&self, id: &str) -> State {
        read_json(&self.dir(id).join("state.json")).unwrap_or_default()
    }

    pub(crate) fn write_state(&self, id: &str, state: &State) -> Result<()> {
        let mut text = serde_json::to_vec(state).map_err(|error| Error::new(error.to_string()))?;
        // How a run ended must be told on a full disk, too: a later state fits into the block that the first one took.
        text.resize(text.len().max(STATE_ROOM), b' ');
        let path = self.dir(id).join("state.json");
        self.store.replace(&path, &text).or_else(|error| match error.errno() {
            Some(libc::ENOSPC | libc::EDQUOT) => overwrite(&path, &text).map_err(|_| error),
            _ => Err(error),
        })
    }

    /// Whether a process watches it.
    pub fn is_watched(&self, id: &str) -> bool {
        watch_lock::open(&self.dir(id).join("lock"))
            .and_then(|file| watch_lock::is_held(&file))
            .unwrap_or(false)
    }

    /// Its state, in a word.
    pub fn phase(&self, id: &str) -> Phase {
        let state = self.state(id);
        match Container::find(&self.run, id).map(|container| container.status()) {
            Ok(Status::Paused) => Phase::Paused,
            Ok(Status::Running | Status::Created | Status::Creating) if self.is_watched(id) => Phase::Running,
            Ok(_) if self.is_watched(id) => Phase::Running,
            // Its watcher may just have cleared it away.
            Ok(_) if Container::find(&self.run, id).is_err() => Phase::Exited,
            Ok(_) => Phase::Dead,
            Err(_) if state.restarting && self.is_watched(id) => Phase::Restarting,
            Err(_) if state.started.is_none() && state.error.is_none() => Phase::Created,
            Err(_) => Phase::Exited,
        }
    }

    /// The running container behind a record.
    ///
    /// # Errors
    /// It does not run.
    pub fn running(&self, record: &Record) -> Result<Container> {
        let not_running = || {
            Error::new(format!("container '{}' is not running", record.name))
                .remedy(format!("`plim start {}` starts it", record.name))
        };
        let container = Container::find(&self.run, &record.id).map_err(|_| not_running())?;
        if container.status() == Status::Stopped { Err(not_running()) } else { Ok(container) }
    }

    /// Addresses of running containers.
    pub(crate) fn taken_addresses(&self) -> Result<BTreeSet<Ipv4Addr>> {
        Ok(self.containers()?.iter().filter_map(|record| self.state(&record.id).address).collect())
    }
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = bounded::read(path, bounded::LARGEST_DOCUMENT)?;
    serde_json::from_slice(&text).map_err(|error| Error::new(format!("{}: {error}", path.display())))
}
