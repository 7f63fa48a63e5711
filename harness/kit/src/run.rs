//! A run: its id, its directory, and what all of its checks share.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use runtime::cgroup::Layout;

pub use crate::audit::RUN_VARIABLE;
use crate::trouble::Trouble;

/// First part of every name that a run gives on the host.
pub const PREFIX: &str = "plimsoll-";

/// A run that is going on. Its directory is removed when it is dropped.
#[derive(Debug)]
pub struct Run {
    id: String,
    dir: PathBuf,
    /// The seed of property checks.
    pub seed: u64,
    /// The hierarchies of the host.
    pub layout: Layout,
    /// Locked while the run lives, so that `clean` does not take it for a dead one.
    _lock: File,
}

/// Where runs have their directories.
pub fn base() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        // Root file systems of containers lie there, so programs and devices must work: systemd's /run allows neither.
        let usual = ["/run", "/var/lib", "/var/tmp", "/tmp"];
        let dir = usual.into_iter().find(|dir| refused(dir).is_none()).unwrap_or("/var/lib");
        return Path::new(dir).join("plimsoll");
    }
    let base = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    base.join(format!("plimsoll-{}", nix::unistd::geteuid()))
}

/// Why containers cannot have their root file systems where runs have their directories.
pub(crate) fn unusable_base() -> Option<String> {
    let base = base();
    let parent = base.parent().unwrap_or(Path::new("/"));
    refused(parent.to_str()?).map(|why| {
        format!(
            "programs and devices of containers do not work in {}: {why} (mount -o remount,exec,dev,suid,rw)",
            base.display()
        )
    })
}

/// Why a directory is not for runs: what its mount withholds. Something may be mounted on the very directory of runs in it.
fn refused(dir: &str) -> Option<String> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let own = Path::new(dir).join("plimsoll");
    let dir = if own.is_dir() { own } else { dir.into() };
    let flags = match rustix::fs::statvfs(&dir) {
        Ok(mount) => mount.f_flag,
        Err(error) => return Some(error.to_string()),
    };
    let withheld = [
        (Flags::NOEXEC, "noexec"),
        (Flags::NODEV, "nodev"),
        (Flags::NOSUID, "nosuid"),
        (Flags::RDONLY, "ro"),
    ];
    let words: Vec<&str> =
        withheld.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| word).collect();
    (!words.is_empty()).then(|| format!("its mount is {}", words.join(",")))
}

impl Run {
    /// Begins a run, with a new seed.
    ///
    /// # Errors
    /// Its directory cannot be made.
    pub fn begin() -> Result<Self, Trouble> {
        Self::begin_with(seed())
    }

    /// Begins a run with a seed of its property checks.
    ///
    /// # Errors
    /// Its directory cannot be made.
    pub fn begin_with(seed: u64) -> Result<Self, Trouble> {
        let base = base();
        let told = |error: std::io::Error| {
            Trouble::Harness(format!("making a directory in {}: {error}", base.display()))
        };
        fs::create_dir_all(&base).map_err(told)?;
        // Until the lock is held, `clean` would treat the directory as stale.
        let _beginning = Beginning::one_of_many().map_err(told)?;
        let (id, dir) = new_dir(&base).map_err(told)?;
        let lock = lock_file(&dir.join("lock")).map_err(told)?;
        lock.lock().map_err(told)?;
        let run = Self { id, dir, seed, layout: Layout::detect()?, _lock: lock };
        // The probe is this very program; a copy of its own cannot be changed under a container's feet.
        fs::copy(std::env::current_exe()?, run.probe())?;
        Ok(run)
    }

    /// Its id: short, and different from that of every run on this host.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name of the try with this number.
    pub fn tag(&self, number: usize) -> String {
        format!("{PREFIX}{}-{number}", self.id)
    }

    /// Makes the built-in image: a root file system with the probe and the mount points.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn make_rootfs(&self, rootfs: &Path) -> Result<(), Trouble> {
        for dir in ["dev", "proc", "sys", "tmp", "etc"] {
            fs::create_dir_all(rootfs.join(dir))?;
        }
        fs::hard_link(self.probe(), rootfs.join("probe"))?;
        Ok(())
    }

    /// Its own copy of this program, which is the probe of its containers.
    pub fn probe(&self) -> PathBuf {
        self.dir.join("probe")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        match crate::remove::tree(&self.dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                output::errln!("removing {}: {error} (plimsoll clean tries again)", self.dir.display());
            }
            _ => {}
        }
    }
}

/// Name of the environment variable with the seed of property checks, by which the processes of a run have the same.
pub const SEED_VARIABLE: &str = "PLIMSOLL_SEED";

/// The seed of property checks: the one in the environment, or one that is new each time.
pub fn seed() -> u64 {
    let given = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos()) ^ (u64::from(std::process::id()) << 32)
    })
}

/// Opens a file that is locked, and makes it if need be. Whoever can open it could lock it and have all runs wait, so that is its
/// owner alone.
pub(crate) fn lock_file(path: &Path) -> std::io::Result<File> {
    let file = File::options().create(true).append(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Makes a directory whose name is the id of a new run.
fn new_dir(base: &Path) -> std::io::Result<(String, PathBuf)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut later = 0;
    loop {
        // Seconds tell runs apart over time, the PID those of one moment. Where the clock was set back, or another PID namespace
        // shares the directory, both may have been there before.
        let id = format!("{:x}{:x}", now.as_secs().wrapping_add(later) & 0x00ff_ffff, std::process::id());
        let dir = base.join(&id);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => later += 1,
            made => return made.map(|()| (id, dir)),
        }
    }
}

/// Keeps runs from beginning while somebody decides which ones are dead, and the reverse.
#[derive(Debug)]
pub struct Beginning(#[expect(dead_code, reason = "held, not read")] File);

impl Beginning {
    fn one_of_many() -> std::io::Result<Self> {
        let file = lock_file(&base().join("beginning"))?;
        file.lock_shared()?;
        Ok(Self(file))
    }

    /// No run begins until this is dropped; `None` where none ever did.
    pub fn none() -> Option<Self> {
        let file = File::open(base().join("beginning")).ok()?;
        file.lock().ok()?;
        Some(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_begin_in_the_same_second_by_the_same_process_have_ids_of_their_own() {
        let base = tempfile::tempdir().unwrap();
        let ids: std::collections::BTreeSet<String> =
            (0..3).map(|_| new_dir(base.path()).unwrap().0).collect();
        assert_eq!(ids.len(), 3);
        assert!(new_dir(&base.path().join("absent")).is_err());
    }

    #[test]
    fn nobody_else_can_lock_what_runs_wait_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("turn");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        for path in [path, dir.path().join("new")] {
            lock_file(&path).unwrap().lock().unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        }
    }
}
