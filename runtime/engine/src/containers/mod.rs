//! Containers of images: what `plim run` is over the lifecycle that `plim-runtime` has.
//!
//! One container is a directory of the data root with the record of what was asked for, its writable layer and its log. While
//! it runs, a process of its own watches it (module `monitor`): in a mount namespace where its layers are mounted, so that the
//! host never sees that mount, and whoever is killed leaves none behind.

mod claim;
mod commit;
mod create;
mod defaults;
mod files;
mod fixed;
mod hosts;
mod init_layer;
mod logs;
mod monitor;
mod mounts;
mod pump;
mod record;
mod repair;
mod seccomp;
mod spec;
mod users;
mod view;
mod watch_lock;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};

pub use claim::Claim;
pub use commit::{Commit, Differs};
pub use create::Create;
pub use hosts::{ExtraHost, hostname};
pub use logs::{Follow, Line, Stream, read as read_log};
pub use monitor::{Attach, Report, Started, monitor};
pub(crate) use mounts::fields_of;
pub use mounts::{Wanted, clean};
pub use record::{Host, MountKind, MountPoint, Phase, Record, State};
pub use repair::check;
pub use seccomp::default_profile as default_seccomp;
pub use users::Identity;
pub use view::{Rooted, inspect};

use crate::image::Store;
use crate::lock;
use crate::network::Networks;
use crate::volume::Volumes;
use runtime::bounded;
use runtime::container::{Container, Status};
use runtime::error::{Doing, Error, Result};
use runtime::process::pidfd;
use runtime::process::signal::Signal;
use runtime::rights;

/// What a state is filled up to, in bytes: a block of most file systems.
const STATE_ROOM: usize = 4096;

/// Writes over a file that is as long as its new content, which takes no room.
fn overwrite(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    File::options().write(true).open(path)?.write_all_at(content, 0)
}

/// The time now, as RFC 3339.
pub fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}

/// 64 hexadecimal digits that nobody has guessed.
pub fn new_id() -> String {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .expect("every kernel has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

    /// Where the states are, for a data root: two roots do not meet.
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

    /// Whoever makes or removes containers, or removes images, does it alone.
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

    /// Where a container stands.
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

    /// Where it stands, in a word.
    pub fn phase(&self, id: &str) -> Phase {
        let state = self.state(id);
        match Container::find(&self.run, id).map(|container| container.status()) {
            Ok(Status::Paused) => Phase::Paused,
            Ok(Status::Running | Status::Created | Status::Creating) if self.is_watched(id) => Phase::Running,
            Ok(_) if self.is_watched(id) => Phase::Running,
            // Its watcher may just have cleared it away.
            Ok(_) if Container::find(&self.run, id).is_err() => Phase::Exited,
            Ok(_) => Phase::Dead,
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
        if volumes {
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

    /// Gives a container another name.
    ///
    /// # Errors
    /// It is taken, or no name.
    pub fn rename(&self, record: &Record, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        let names: Vec<String> = self.containers()?.into_iter().map(|record| record.name).collect();
        let renamed = Record { name: create::checked(name, &names)?, ..record.clone() };
        let text = serde_json::to_vec(&renamed).map_err(|error| Error::new(error.to_string()))?;
        self.store.replace(&self.dir(&record.id).join("record.json"), &text)
    }

    /// Removes an image's name, or the image; containers that use it are asked for while none can be made.
    ///
    /// # Errors
    /// As of [`crate::image::remove`].
    pub fn remove_image(&self, name: &str, force: bool) -> Result<Vec<String>> {
        let _lock = self.lock()?;
        crate::image::remove(&self.store, name, force, |id| self.user_of_image(id)).map(|(said, _)| said)
    }

    /// Removes a volume that no container uses, while none can be made.
    ///
    /// # Errors
    /// As of [`Volumes::remove`].
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        self.volumes.remove(name, &self.users_of_volume(name)?)
    }

    /// Removes a network that no container is on, while none can be made.
    ///
    /// # Errors
    /// As of [`Networks::remove`].
    pub fn remove_network(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        self.networks.remove(name, &self.users_of_network(name)?)
    }

    /// Names of the containers that use a volume.
    ///
    /// # Errors
    /// The containers cannot be listed.
    pub fn users_of_volume(&self, name: &str) -> Result<Vec<String>> {
        let uses = |record: &Record| record.mounts.iter().any(|mount| mount.name.as_deref() == Some(name));
        Ok(self.containers()?.into_iter().filter(uses).map(|record| record.name).collect())
    }

    /// Names of the containers that are on a network.
    ///
    /// # Errors
    /// The containers cannot be listed.
    pub fn users_of_network(&self, name: &str) -> Result<Vec<String>> {
        Ok(self
            .containers()?
            .into_iter()
            .filter(|record| record.host.network == name)
            .map(|record| record.name)
            .collect())
    }

    /// Addresses of running containers.
    pub(crate) fn taken_addresses(&self) -> Result<BTreeSet<Ipv4Addr>> {
        Ok(self.containers()?.iter().filter_map(|record| self.state(&record.id).address).collect())
    }

    /// The name of a container that uses an image.
    pub fn user_of_image(&self, id: &crate::image::Digest) -> Option<String> {
        self.containers().ok()?.into_iter().find(|record| &record.image_id == id).map(|record| record.name)
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

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = bounded::read(path, bounded::LARGEST_DOCUMENT)?;
    serde_json::from_slice(&text).map_err(|error| Error::new(format!("{}: {error}", path.display())))
}

impl Engine {
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
