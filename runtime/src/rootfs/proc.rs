//! procfs that is known to be procfs.
//!
//! Parameters of the kernel, labels of security modules and id maps are files. Whoever can put another file in the place
//! of one (an image with its own /proc, a mount over a part of it) turns a setting into a write to the host, or into none at all
//! (CVE-2019-16884, CVE-2019-19921, CVE-2025-31133). So such files are opened only through this.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::{Doing, Error, Result};

/// The inode of the root of every procfs. Source: `include/uapi/linux/fs.h`, PROCFS_ROOT_INO.
const ROOT_INODE: u64 = 1;

/// The root directory of a procfs.
#[derive(Debug)]
pub struct Proc {
    dir: OwnedFd,
}

impl Proc {
    /// The one at the caller's /proc: the host's, until the root is switched.
    ///
    /// # Errors
    /// None is mounted there.
    pub fn host() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open("/proc", flags, Mode::empty()).doing(|| "opening /proc")?;
        Self::verify(dir)
    }

    /// Takes a directory, if it is the root of a procfs.
    ///
    /// # Errors
    /// It is something else.
    pub fn verify(dir: OwnedFd) -> Result<Self> {
        let stat = rustix::fs::fstat(&dir).doing(|| "looking at /proc")?;
        if is_procfs(&dir)? && stat.st_ino == ROOT_INODE {
            return Ok(Self { dir });
        }
        Err(Error::new("/proc is not the root of a procfs").remedy("mount one of type proc there"))
    }

    /// Opens a file. No link is followed, and nothing that was mounted over a part of procfs is entered.
    ///
    /// # Errors
    /// The kernel's; EXDEV for a part that something is mounted over.
    pub fn open(&self, inside: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(&self.dir, inside, flags, Mode::empty(), how)
    }

    /// The directory of the calling process. Its number is asked of this procfs, which may belong to another PID namespace.
    ///
    /// # Errors
    /// The process is not in the PID namespace of this procfs.
    pub fn own(&self) -> rustix::io::Result<PathBuf> {
        let number = rustix::fs::readlinkat(&self.dir, "self", Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(number.into_bytes())))
    }

    /// Opens a file of the calling process for writing, such as `attr/exec`.
    ///
    /// # Errors
    /// Same errors as [`Proc::open`].
    pub fn own_file(&self, name: &str) -> rustix::io::Result<File> {
        self.open(&self.own()?.join(name), OFlags::WRONLY).map(File::from)
    }

    /// Writes a file in one call, as these files want it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&self, inside: &Path, value: &str) -> std::io::Result<()> {
        File::from(self.open(inside, OFlags::WRONLY)?).write_all(value.as_bytes())
    }

    /// Writes a file of the calling process.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write_own(&self, name: &str, value: &str) -> std::io::Result<()> {
        self.own_file(name)?.write_all(value.as_bytes())
    }
}

impl AsFd for Proc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Whether a descriptor lies on a procfs.
pub(super) fn is_procfs(fd: &impl AsFd) -> Result<bool> {
    let file_system = rustix::fs::fstatfs(fd).doing(|| "looking at the file system of a path")?;
    Ok(file_system.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_procfs_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty()).unwrap();
        assert!(Proc::verify(open(dir.path())).is_err());
        // On a procfs, but not its root.
        assert!(Proc::verify(open(Path::new("/proc/self"))).is_err());
        Proc::verify(open(Path::new("/proc"))).unwrap();
    }

    #[test]
    fn links_are_not_followed_and_ones_own_files_are_found() {
        let proc = Proc::host().unwrap();
        assert_eq!(proc.own().unwrap(), Path::new(&std::process::id().to_string()));
        let read = |path: &str| proc.open(Path::new(path), OFlags::RDONLY);
        assert!(read("self/status").is_err() && read("mounts").is_err() && read("../etc/passwd").is_err());
        assert!(read("uptime").is_ok());
        assert!(proc.own_file("oom_score_adj").is_ok());
    }
}
