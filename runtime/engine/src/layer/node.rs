//! One thing of a tree, opened. Whatever its name means a moment later: this is what is described, read and entered.
//!
//! A container that runs can replace any of its files with a link, a pipe or a device while it is read. So nothing is looked
//! up twice, no link is followed, and only regular files and directories are opened for reading.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, openat, statx};
use rustix::io::Errno;

use runtime::error::{Doing, Result};
use runtime::overlay::{OPAQUE, USER_OPAQUE};
use runtime::rootfs::resolve::by_descriptor;

/// Device and inode: what a file is, whatever it is called.
pub type FileId = (u64, u64);

/// Extended attributes by their names.
pub(super) type Attributes = Vec<(OsString, Vec<u8>)>;

/// A file, directory, link, device, pipe or socket, and what is known of it.
#[derive(Debug)]
pub struct Node {
    fd: OwnedFd,
    stat: Statx,
}

impl Node {
    /// What is at a path of the host; links are followed.
    ///
    /// # Errors
    /// There is nothing.
    pub fn open(path: &Path) -> Result<Self> {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .and_then(Self::from_descriptor)
            .doing(|| format!("opening {}", path.display()))
    }

    /// What a descriptor refers to; one made with `O_PATH` is enough.
    ///
    /// # Errors
    /// The kernel says nothing about it.
    pub fn from_descriptor(fd: OwnedFd) -> rustix::io::Result<Self> {
        let stat = statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Ok(Self { fd, stat })
    }

    /// What has a name in a directory; `None` if it is gone.
    pub(super) fn child(dir: impl AsFd, name: &OsStr) -> rustix::io::Result<Option<Self>> {
        match openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            opened => Self::from_descriptor(opened?).map(Some),
        }
    }

    /// Its type.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(u32::from(self.stat.stx_mode))
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Which file it is.
    pub fn id(&self) -> FileId {
        (rustix::fs::makedev(self.stat.stx_dev_major, self.stat.stx_dev_minor), self.stat.stx_ino)
    }

    /// Whether something is mounted there, and this is it.
    pub fn is_mounted(&self) -> bool {
        self.stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    }

    /// Type, permissions, owner, size, times.
    pub(super) fn stat(&self) -> &Statx {
        &self.stat
    }

    /// Whether an overlay's upper directory says by it that its name was deleted: a character device numbered 0:0.
    pub(super) fn is_whiteout(&self) -> bool {
        self.kind() == FileType::CharacterDevice
            && (self.stat.stx_rdev_major, self.stat.stx_rdev_minor) == (0, 0)
    }

    /// Whether it is a directory of an upper directory that hides what lies below it.
    pub(super) fn is_opaque(&self) -> io::Result<bool> {
        for name in [OPAQUE, USER_OPAQUE] {
            match xattr::get_deref(by_descriptor(&self.fd), name) {
                Ok(Some(value)) if value == b"y" => return Ok(true),
                // The file system has no such attributes at all.
                Err(error) if error.raw_os_error() != Some(libc::EOPNOTSUPP) => return Err(error),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    /// A regular file's content.
    ///
    /// # Errors
    /// It is of another type, or may not be read.
    pub fn content(&self) -> io::Result<File> {
        if !self.is_file() {
            return Err(io::Error::other("only regular files are read"));
        }
        // The descriptor's own entry leads to this very file, whose type is known.
        File::open(by_descriptor(&self.fd))
    }

    /// A directory, to read its names and to open what has them.
    pub(super) fn directory(&self) -> rustix::io::Result<OwnedFd> {
        openat(&self.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    /// Where a symbolic link leads.
    pub(super) fn target(&self) -> rustix::io::Result<OsString> {
        let target = rustix::fs::readlinkat(&self.fd, "", Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Extended attributes in the order of their names, but not those by which the overlay itself keeps its books. Links
    /// have none that an archive could keep.
    pub(super) fn attributes(&self) -> io::Result<Attributes> {
        let mut found = Vec::new();
        if self.kind() == FileType::Symlink {
            return Ok(found);
        }
        let path = by_descriptor(&self.fd);
        let mut names: Vec<_> = match xattr::list_deref(&path) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(found),
            names => names?.collect(),
        };
        names.sort_unstable();
        for name in names {
            let bytes = name.as_encoded_bytes();
            if bytes.starts_with(b"trusted.overlay.") || bytes.starts_with(b"user.overlay.") {
                continue;
            }
            if let Some(value) = xattr::get_deref(&path, &name)? {
                found.push((name, value));
            }
        }
        Ok(found)
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Node> for OwnedFd {
    fn from(node: Node) -> Self {
        node.fd
    }
}
