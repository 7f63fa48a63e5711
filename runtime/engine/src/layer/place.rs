//! Where an archive's entry goes: below the tree's root and through no symbolic link, whatever its name says.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

use runtime::error::{Doing, Error, Result};

/// A tree that is being filled, and the directory last used in it: most entries follow their neighbours.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    /// Mounts in it are entered.
    enters: bool,
    last: Option<(PathBuf, OwnedFd)>,
}

/// The name of an entry in its tree, relative and without detours.
///
/// # Errors
/// It is absolute, climbs with `..`, or holds a NUL.
pub(super) fn clean(name: &[u8]) -> Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(name));
    let refuse = |why: &str| Err(refused(path, why));
    if name.contains(&0) {
        return refuse("its name holds a NUL");
    }
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir => return refuse("its name climbs with '..'"),
            Component::RootDir | Component::Prefix(_) => return refuse("its name is absolute"),
        }
    }
    Ok(clean)
}

/// The error for an entry that no honest archive has.
pub(super) fn refused(path: &Path, why: &str) -> Error {
    Error::new(format!("refusing the archive's entry '{}': {why}", path.display()))
        .remedy("nothing was written outside of the tree; do not trust the source of this archive")
}

impl Tree {
    pub(super) fn new(root: OwnedFd, enters: bool) -> Self {
        Self { root, enters, last: None }
    }

    /// The directory that holds an entry, made if need be, and the entry's name in it.
    pub(super) fn parent_of(&mut self, path: &Path) -> Result<(BorrowedFd<'_>, OsString)> {
        let name = path.file_name().ok_or_else(|| refused(path, "it is the root itself"))?.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent.as_os_str().is_empty() {
            return Ok((self.root.as_fd(), name));
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let opened = self.open_dir(parent)?;
            self.last = Some((parent.to_owned(), opened));
        }
        let (_, parent) = self.last.as_ref().expect("it was set above");
        Ok((parent.as_fd(), name))
    }

    /// Must be called when a directory is replaced by something else.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn open_dir(&self, path: &Path) -> Result<OwnedFd> {
        match self.beneath(path) {
            Err(Errno::NOENT) => self.make_parents(path),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                Err(refused(path, "its path leads through something that is not a directory of the archive"))
            }
            opened => opened.doing(|| format!("opening {}", path.display())),
        }
    }

    /// Archives need not name the directories above their entries.
    fn make_parents(&self, path: &Path) -> Result<OwnedFd> {
        let mut below = PathBuf::new();
        for part in path.components() {
            let above = below.clone();
            below.push(part);
            match self.beneath(&below) {
                Err(Errno::NOENT) => {
                    let dir = if above.as_os_str().is_empty() {
                        mkdirat(&self.root, part.as_os_str(), Mode::from_raw_mode(0o755))
                    } else {
                        self.beneath(&above)
                            .and_then(|dir| mkdirat(dir, part.as_os_str(), Mode::from_raw_mode(0o755)))
                    };
                    dir.doing(|| format!("making {}", below.display()))?;
                }
                Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => {
                    return Err(refused(
                        path,
                        "its path leads through something that is not a directory of the archive",
                    ));
                }
                opened => drop(opened.doing(|| format!("opening {}", below.display()))?),
            }
        }
        self.beneath(path).doing(|| format!("opening {}", path.display()))
    }

    fn beneath(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        if !self.enters {
            return openat2(&self.root, path, flags, Mode::empty(), resolve | ResolveFlags::NO_XDEV);
        }
        let opened = openat2(&self.root, path, flags, Mode::empty(), resolve)?;
        // What is written there is a command to the kernel, not a file of a tree.
        if is_of_kernel(&opened)? { Err(Errno::XDEV) } else { Ok(opened) }
    }
}

/// Whether a directory belongs to a file system whose files are the kernel's. Source: linux/magic.h.
fn is_of_kernel(dir: &OwnedFd) -> rustix::io::Result<bool> {
    const MAGIC: &[i64] = &[
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0xcafe_4a11, // bpf
        0x6265_6570, // configfs
        0xf97c_ff8c, // selinuxfs
        0x1980_0202, // mqueue
        0x1cd1,      // devpts
    ];
    let kind = rustix::fs::fstatfs(dir)?.f_type;
    Ok(MAGIC.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detours_are_dropped_and_escapes_refused() {
        assert_eq!(clean(b"./a//b/./c/").unwrap(), Path::new("a/b/c"));
        assert_eq!(clean(b"./").unwrap(), Path::new(""));
        for hostile in [&b"../a"[..], b"a/../../b", b"/etc/passwd", b"a\0b"] {
            let error = clean(hostile).unwrap_err().to_string();
            assert!(error.contains("refusing"), "{error}");
        }
    }

    #[test]
    fn parents_are_made_but_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("out")).unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        let mut tree = Tree::new(root.into(), false);
        tree.parent_of(Path::new("a/b/c")).unwrap();
        assert!(dir.path().join("a/b").is_dir());
        let error = tree.parent_of(Path::new("out/tmp/x")).unwrap_err().to_string();
        assert!(error.contains("not a directory of the archive"), "{error}");
    }
}
