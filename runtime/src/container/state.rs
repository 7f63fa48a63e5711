//! What is known of a container between two commands: one directory for each, below the runtime's root.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::socket::UnixAddr;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::cgroup::Directories;
use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::Spec;
use crate::process::pidfd;
use crate::rights;

const FILE: &str = "state.json";
const SOCKET: &str = "start.sock";

/// State of a container in its lifecycle. Source: runtime.md, "State".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made; the application was not started.
    Created,
    /// The application runs.
    Running,
    /// All its processes are frozen.
    Paused,
    /// The application has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// What is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) id: String,
    /// 0 while it is being made.
    pub(super) pid: i32,
    /// With the PID this names the process for ever.
    pub(super) pid_start: u64,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    /// RFC 3339.
    pub(super) created: String,
    pub(super) owner: u32,
    pub(super) cgroups: Directories,
    pub(super) spec: Spec,
    /// The name of its session keyring; nothing if it has its creator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keyring: Option<String>,
}

/// The state as the specification shows it to callers and hooks.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the specification.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Its first process on the host; 0 once that has ended.
    pub pid: i32,
    /// Its state.
    pub status: Status,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// When it was made, by RFC 3339.
    pub created: String,
    /// Name of the user who made it.
    pub owner: String,
    /// Annotations of its configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The directory of one container's state.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    /// Inode number of the directory, by which another one of the same name is told from it.
    inode: u64,
    /// Held until dropped: no two commands change a container at once.
    lock: RefCell<Option<File>>,
}

impl Home {
    /// Claims an id that is free.
    pub(super) fn claim(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        make_root(root)
            .doing(|| format!("making the state directory {}", root.display()))
            .or_advise(|| "name a writable one with --root")?;
        let dir = root.join(id);
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::new(format!("container with id '{id}' exists already"))
                    .remedy("delete it first, or choose another id"))
            }
            made => {
                made.doing(|| format!("making {}", dir.display()))?;
                let lock = lock(&dir)?;
                let inode = lock.metadata().doing(|| format!("looking at {}", dir.display()))?.ino();
                Ok(Self { dir, inode, lock: RefCell::new(Some(lock)) })
            }
        }
    }

    /// Finds a container to look at.
    pub(super) fn find(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let dir = root.join(id);
        let Some(found) = fs::metadata(&dir).ok().filter(fs::Metadata::is_dir) else {
            return Err(Error::new(format!("container '{id}' does not exist"))
                .remedy(format!("`plim-runtime --root {} list` shows those that do", root.display())));
        };
        Ok(Self { dir, inode: found.ino(), lock: RefCell::new(None) })
    }

    /// Finds a container to change it: other commands that would do so wait until this one is dropped.
    pub(super) fn hold(root: &Path, id: &str) -> Result<Self> {
        let home = Self::find(root, id)?;
        home.lock.replace(Some(lock(&home.dir)?));
        Ok(home)
    }

    /// Lets other commands at the container. A copy of the process must do so too: as long as any copy has the
    /// descriptor open, the lock is held.
    pub(super) fn release(&self) {
        drop(self.lock.take());
    }

    /// Holds it again after [`Home::release`]; says whether it is still there.
    pub(super) fn hold_again(&self) -> bool {
        let Ok(held) = lock(&self.dir) else { return false };
        let same = held.metadata().is_ok_and(|found| found.ino() == self.inode && found.nlink() > 0);
        self.lock.replace(Some(held));
        same
    }

    /// Replaces the record as a whole, so that a reader sees the old or the new one.
    pub(super) fn write(&self, record: &Record) -> Result<()> {
        let temporary = self.dir.join(".state.json");
        let text =
            serde_json::to_vec(record).map_err(|error| Error::new(format!("writing state: {error}")))?;
        let doing = || format!("writing {}", temporary.display());
        rights::write_private(&temporary, &text).doing(doing)?;
        fs::rename(&temporary, self.dir.join(FILE)).doing(doing)
    }

    /// `None` if the runtime was killed before it could write one.
    pub(super) fn read(&self) -> Result<Option<Record>> {
        let path = self.dir.join(FILE);
        let Some(text) = bounded::read_if_there(&path, bounded::LARGEST_DOCUMENT)? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Error::new(format!("{} is damaged: {error}", path.display()))
                .remedy("delete --force removes the container")
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where `start` is awaited; exists only until then.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join(SOCKET)
    }

    pub(super) fn remove(&self) -> Result<()> {
        // Nearly always there is the record alone, and to list a directory takes longer than to name what is in it.
        let _ = fs::remove_file(self.dir.join(FILE));
        if fs::remove_dir(&self.dir).is_ok() {
            return Ok(());
        }
        fs::remove_dir_all(&self.dir).doing(|| format!("removing {}", self.dir.display()))
    }
}

impl Record {
    /// The first process, if it lives: a PID used again by another process is not taken for it.
    pub(super) fn live_pid(&self) -> Option<i32> {
        (self.pid != 0 && pidfd::start_time(self.pid) == Some(self.pid_start)).then_some(self.pid)
    }

    pub(super) fn show(&self, status: Status) -> State {
        let owner = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(self.owner));
        State {
            oci_version: crate::oci::VERSION.into(),
            id: self.id.clone(),
            pid: if status == Status::Stopped { 0 } else { self.pid },
            status,
            bundle: self.bundle.clone(),
            rootfs: self.rootfs.clone(),
            created: self.created.clone(),
            owner: owner.ok().flatten().map_or_else(|| self.owner.to_string(), |user| user.name),
            annotations: self.spec.annotations.clone(),
        }
    }
}

/// The directory of all states is for its owner alone. One that somebody else made, for whatever else lies in it, keeps its mode:
/// the directory of each container is closed all the same.
fn make_root(root: &Path) -> std::io::Result<()> {
    let is_state = |entry: fs::DirEntry| entry.path().join(FILE).exists();
    let is_ours = || fs::read_dir(root).is_ok_and(|mut all| all.all(|entry| entry.is_ok_and(is_state)));
    if root.exists() && !(root == default_root() || is_ours()) {
        return Ok(());
    }
    rights::private_dir(root)
}

/// Ids become file names and cgroup names.
fn check_id(id: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || matches!(id, "." | "..") || id.len() > 1024 || !id.chars().all(fine) {
        return Err(Error::new(format!("invalid container id '{}'", id.escape_debug()))
            .remedy("ids are made of letters, digits, and _ + - ."));
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File> {
    let file = File::open(dir).doing(|| format!("opening {}", dir.display()))?;
    file.lock().doing(|| format!("locking {}", dir.display()))?;
    Ok(file)
}

/// The directory that holds the states of all containers, where `--root` does not name one.
pub fn default_root() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/run/plim-runtime");
    }
    let base = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    base.join("plim-runtime")
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::new(format!("writing JSON: {error}")))
}

/// Socket addresses hold 108 bytes, so the socket is reached through its directory's descriptor.
pub(super) fn with_short_path<T>(
    home: &Home,
    act: impl FnOnce(&UnixAddr) -> nix::Result<T>,
) -> std::io::Result<T> {
    let dir = File::open(home.dir())?;
    let name = home.socket();
    let name = name.file_name().expect("the socket has a name");
    let path = crate::rootfs::resolve::by_descriptor(&dir).join(name);
    Ok(act(&UnixAddr::new(&path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_leave_the_state_directory() {
        let root = tempfile::tempdir().unwrap();
        for id in ["", ".", "..", "a/b", "../x", "a b", "é", "a\0"] {
            assert!(Home::claim(root.path(), id).is_err(), "{id:?}");
        }
        assert!(Home::claim(root.path(), "web-1.2_x+y").is_ok());
    }

    #[test]
    fn a_used_id_is_refused_and_a_removed_one_free() {
        let root = tempfile::tempdir().unwrap();
        let home = Home::claim(root.path(), "one").unwrap();
        assert!(Home::claim(root.path(), "one").unwrap_err().to_string().contains("exists already"));
        home.remove().unwrap();
        assert!(Home::find(root.path(), "one").unwrap_err().to_string().contains("does not exist"));
        drop(home);
        Home::claim(root.path(), "one").unwrap();
    }
}
