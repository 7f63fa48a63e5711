//! Paths of a container, resolved inside its root by the kernel: openat2(2) with RESOLVE_IN_ROOT.
//!
//! A path from an image or a configuration is never joined to a host path as a string: a symbolic link in the
//! image would then lead out (CVE-2021-30465 and its kin). What is opened here is used by descriptor alone.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Doing, Error, Remedy, Result};

/// Symbolic links that may be followed while missing directories are made.
const MOST_LINKS: u32 = 40;

/// A directory that paths cannot leave.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    shown: PathBuf,
}

impl Root {
    /// Opens the directory at a host path.
    ///
    /// # Errors
    /// It does not exist or is not a directory.
    pub fn open(path: &Path) -> Result<Self> {
        let dir = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| format!("opening the root file system {}", path.display()))?;
        Ok(Self { dir, shown: path.to_owned() })
    }

    /// The root that a descriptor refers to. `shown` names it in errors.
    pub fn from_descriptor(dir: OwnedFd, shown: &Path) -> Self {
        Self { dir, shown: shown.to_owned() }
    }

    /// What names it in errors.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Resolves a path to an O_PATH descriptor.
    ///
    /// # Errors
    /// It does not exist inside the root.
    pub fn find(&self, inside: &Path) -> Result<OwnedFd> {
        self.resolve(inside, ResolveFlags::empty()).doing(|| self.name(inside))
    }

    /// Resolves a path without following a symbolic link in its last component.
    ///
    /// # Errors
    /// It does not exist inside the root.
    pub fn find_itself(&self, inside: &Path) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.open_at(inside, flags, ResolveFlags::empty()).doing(|| self.name(inside))
    }

    /// Resolves a path of which no part may be a symbolic link.
    ///
    /// # Errors
    /// It does not exist, or a part is a link.
    pub fn find_no_links(&self, inside: &Path) -> Result<OwnedFd> {
        self.resolve(inside, ResolveFlags::NO_SYMLINKS)
            .doing(|| self.name(inside))
            .or_advise(|| "an image may not redirect this path by a symbolic link")
    }

    /// Resolves a directory, making what is missing with this mode.
    ///
    /// # Errors
    /// A part exists and is not a directory, or the file system is read-only.
    pub fn ensure_dir(&self, inside: &Path, mode: u32) -> Result<OwnedFd> {
        // Most are there, and then one call is enough.
        if let Ok(found) = self.resolve(inside, ResolveFlags::empty()) {
            return self.check_directory(found, inside);
        }
        // Of most others the last part alone is missing.
        if let (Some(parent), Some(name)) = (inside.parent(), inside.file_name())
            && let Ok(dir) = self.resolve(parent, ResolveFlags::empty())
            && rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode)).is_ok()
        {
            return self.just_made(&dir, name, inside);
        }
        self.ensure_dir_following(inside, mode, MOST_LINKS)
    }

    /// Resolves a file, making an empty one (and its directories) if it is missing.
    ///
    /// # Errors
    /// Same errors as [`Root::ensure_dir`].
    pub fn ensure_file(&self, inside: &Path) -> Result<OwnedFd> {
        if let Ok(found) = self.resolve(inside, ResolveFlags::empty()) {
            return Ok(found);
        }
        let (parent, name) = self.ensure_parent(inside)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))
            .doing(|| format!("making {}", self.name(inside)))
    }

    /// Opens a regular file for reading. Anything else (a device, a pipe that would block) is refused: the check is
    /// made on the descriptor that is returned.
    ///
    /// # Errors
    /// It does not exist inside the root, may not be read, or is no regular file.
    pub fn open_regular(&self, inside: &Path) -> Result<File> {
        let regular = |fd: &OwnedFd| {
            let stat = rustix::fs::fstat(fd).doing(|| self.name(inside))?;
            match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
                rustix::fs::FileType::RegularFile => Ok(()),
                other => Err(Error::new(format!("{} is a {other:?}, not a regular file", self.name(inside)))),
            }
        };
        // Opening a device may already do something, so its kind is looked at before.
        regular(&self.find(inside)?)?;
        // What lies there may have been replaced since. Only this descriptor is used, so only it has to be right.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = self.open_at(inside, flags, ResolveFlags::empty()).doing(|| self.name(inside))?;
        regular(&opened)?;
        Ok(File::from(opened))
    }

    /// Reads a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// Same errors as [`Root::open_regular`], or the file is larger.
    pub fn read_bounded(&self, inside: &Path, limit: u64) -> Result<Vec<u8>> {
        let file = self.open_regular(inside)?;
        read_bounded(file, limit).map_err(|error| Error::new(format!("{}: {error}", self.name(inside))))
    }

    /// The directory of a path, made if missing, and the path's last name.
    ///
    /// # Errors
    /// The path ends in no name.
    pub fn ensure_parent<'p>(&self, inside: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        let name = inside
            .file_name()
            .ok_or_else(|| Error::new(format!("'{}' ends in no file name", inside.display())))?;
        Ok((self.ensure_dir(inside.parent().unwrap_or(Path::new("/")), 0o755)?, name))
    }

    fn ensure_dir_following(&self, inside: &Path, mode: u32, links: u32) -> Result<OwnedFd> {
        let mut at = PathBuf::from("/");
        let mut dir = self.resolve(&at, ResolveFlags::empty()).doing(|| self.name(&at))?;
        let mut parts = inside.components();
        while let Some(part) = parts.next() {
            let name = match part {
                Component::Normal(name) => name,
                Component::ParentDir => OsStr::new(".."),
                _ => continue,
            };
            let next = at.join(name);
            dir = match self.resolve(&next, ResolveFlags::empty()) {
                Ok(found) => found,
                Err(Errno::NOENT) => match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode)) {
                    Ok(()) => self.just_made(&dir, name, &next)?,
                    Err(Errno::EXIST) => {
                        return self.through_dangling_link(&dir, &at, name, &parts, mode, links);
                    }
                    Err(error) => return Err(error).doing(|| format!("making {}", self.name(&next))),
                },
                Err(error) => return Err(error).doing(|| self.name(&next)),
            };
            at = next;
        }
        self.check_directory(dir, inside)
    }

    /// The directory that was made in `dir`. If somebody put another thing in its place meanwhile, it is not followed.
    fn just_made(&self, dir: &OwnedFd, name: &OsStr, inside: &Path) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty()).doing(|| self.name(inside))
    }

    /// Passes a descriptor on if it is a directory's.
    ///
    /// # Errors
    /// It is not; `inside` names it.
    pub fn check_directory(&self, dir: OwnedFd, inside: &Path) -> Result<OwnedFd> {
        let kind = rustix::fs::fstat(&dir).map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode));
        match kind.doing(|| self.name(inside))? {
            rustix::fs::FileType::Directory => Ok(dir),
            other => Err(Error::new(format!("{} is a {other:?}, not a directory", self.name(inside)))),
        }
    }

    /// A link whose target is missing: the target is made instead, inside the root, and the walk goes on there.
    fn through_dangling_link(
        &self,
        dir: &OwnedFd,
        at: &Path,
        name: &OsStr,
        rest: &std::path::Components<'_>,
        mode: u32,
        links: u32,
    ) -> Result<OwnedFd> {
        if links == 0 {
            return Err(Errno::LOOP).doing(|| self.name(&at.join(name)));
        }
        let target = rustix::fs::readlinkat(dir, name, Vec::new()).doing(|| self.name(&at.join(name)))?;
        let target: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(target.as_bytes());
        self.ensure_dir_following(&at.join(target).join(rest.as_path()), mode, links - 1)
    }

    fn resolve(&self, inside: &Path, more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        self.open_at(inside, OFlags::PATH | OFlags::CLOEXEC, more)
    }

    /// Opens a path with any flags. The caller looks at what it got.
    pub(super) fn open_at(
        &self,
        inside: &Path,
        flags: OFlags,
        more: ResolveFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        // EAGAIN: something was renamed meanwhile, and the kernel could not vouch for "..".
        loop {
            let opened = rustix::fs::openat2(&self.dir, inside, flags, Mode::empty(), how);
            if !matches!(opened, Err(Errno::AGAIN)) {
                return opened;
            }
        }
    }

    fn name(&self, inside: &Path) -> String {
        format!("{} in the root file system {}", inside.display(), self.shown.display())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// A path by which other calls reach what a descriptor refers to, while the host's /proc is mounted.
pub fn by_descriptor(fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// The inverse of O_PATH: opens what a descriptor refers to for reading.
///
/// # Errors
/// It may not be read.
pub fn reopen(fd: &impl AsFd) -> Result<File> {
    let path = by_descriptor(fd);
    File::open(&path).doing(|| format!("opening {}", path.display()))
}

/// Opens for reading what a descriptor refers to, if it is a regular file. Nothing else is opened: a device or a pipe can
/// block, or do something by being opened. Needs the host's /proc.
///
/// # Errors
/// It is of another type, or may not be read.
pub fn reopen_regular(fd: &impl AsFd) -> Result<File> {
    let stat = rustix::fs::fstat(fd).doing(|| "looking at a file's type")?;
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => reopen(fd),
        other => Err(Error::new(format!("it is a {other:?}, not a regular file"))),
    }
}

/// Reads at most `limit` bytes.
///
/// # Errors
/// There are more, or they cannot be read.
pub fn read_bounded(from: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).doing(|| "reading it")?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(Error::new(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn inode(fd: &OwnedFd) -> u64 {
        rustix::fs::fstat(fd).unwrap().st_ino
    }

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let (dir, root) = root();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        symlink("../outside", dir.path().join("root/relative")).unwrap();
        symlink(dir.path().join("outside"), dir.path().join("root/absolute")).unwrap();
        assert!(root.find(Path::new("/relative")).is_err());
        assert!(root.find(Path::new("/absolute")).is_err());
        let top = root.find(Path::new("/../../..")).unwrap();
        assert_eq!(inode(&top), std::fs::metadata(dir.path().join("root")).unwrap().ino());
    }

    #[test]
    fn missing_directories_are_made_inside_even_behind_dangling_links() {
        let (dir, root) = root();
        symlink("/run", dir.path().join("root/var-run")).unwrap();
        root.ensure_dir(Path::new("/var-run/a/b"), 0o755).unwrap();
        assert!(dir.path().join("root/run/a/b").is_dir());
        symlink("loop", dir.path().join("root/loop")).unwrap();
        assert!(root.ensure_dir(Path::new("/loop/x"), 0o755).is_err());
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let (dir, root) = root();
        let top = dir.path().join("root");
        std::fs::write(top.join("passwd"), "12345").unwrap();
        symlink("/passwd", top.join("link")).unwrap();
        symlink(dir.path().join("outside"), top.join("out")).unwrap();
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        nix::unistd::mkfifo(&top.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(root.read_bounded(Path::new("/link"), 5).unwrap(), b"12345");
        assert!(root.read_bounded(Path::new("/passwd"), 4).unwrap_err().to_string().contains("4 bytes"));
        // Opening it for reading would block for ever.
        assert!(root.open_regular(Path::new("/pipe")).unwrap_err().to_string().contains("Fifo"));
        assert!(root.open_regular(Path::new("/out")).is_err());
        assert!(root.open_regular(Path::new("/")).is_err());
        assert!(
            reopen_regular(&root.find(Path::new("/pipe")).unwrap()).unwrap_err().to_string().contains("Fifo")
        );
        let link = root.find_itself(Path::new("/out")).unwrap();
        assert!(rustix::fs::readlinkat(&link, "", Vec::new()).is_ok());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let (dir, root) = root();
        std::fs::write(dir.path().join("root/file"), "").unwrap();
        let message = root.ensure_dir(Path::new("/file"), 0o755).unwrap_err().to_string();
        assert!(message.contains("/file") && message.contains("not a directory"), "{message}");
        root.ensure_file(Path::new("/etc/new/hosts")).unwrap();
        assert!(dir.path().join("root/etc/new/hosts").is_file());
    }
}
