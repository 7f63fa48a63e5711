//! Removing directories of a run without ever going through a mount: what is mounted there belongs to somebody else.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2, unlinkat};
use rustix::io::Errno;

use crate::audit;

/// Removes a directory and all that is in it. It ends, with an error that names the place, where something is mounted.
///
/// # Errors
/// Something is mounted in it, or the system refuses.
pub fn tree(dir: &Path) -> io::Result<()> {
    if let Some(point) = audit::mounts_below(dir).first() {
        let told = format!("{} is a mount point; unmount it first", point.display());
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, told));
    }
    let parent = dir.parent().unwrap_or(Path::new("/"));
    let name = dir.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    remove(&parent, name)
}

fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        // What unlink(2) says of a directory depends on the file system.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let dir = enter(parent, name)?;
    for entry in Dir::read_from(dir.as_fd())? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            remove(&dir, OsStr::from_bytes(name))?;
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Opens a directory that is no link and no mount point. A mount that came since mountinfo was read is seen here.
fn enter(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(parent, name, flags, Mode::empty(), how) {
        Err(Errno::XDEV) => {
            let told = format!("{} is a mount point; unmount it first", name.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, told))
        }
        // Before 5.6, or behind a filter: the device at least must be the same.
        Err(Errno::NOSYS | Errno::PERM) => {
            let dir = openat(parent, name, flags, Mode::empty())?;
            let (here, there) = (rustix::fs::fstat(parent)?.st_dev, rustix::fs::fstat(&dir)?.st_dev);
            if here == there { Ok(dir) } else { Err(io::ErrorKind::ResourceBusy.into()) }
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn links_are_removed_and_not_followed() {
        let base = std::env::temp_dir().join(format!("plimsoll-remove-{}", std::process::id()));
        let (outside, dir) = (base.join("outside"), base.join("dir"));
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, dir.join("a/link")).unwrap();
        tree(&dir).unwrap();
        assert!(!dir.exists() && outside.join("file").exists());
        tree(&base).unwrap();
        assert_eq!(tree(&base).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn nothing_below_a_mount_is_removed() {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).is_err() {
            let _ = io::Write::write_all(&mut io::stderr(), b"skipped: needs root\n");
            return;
        }
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let base = std::env::temp_dir().join(format!("plimsoll-mount-{}", std::process::id()));
        let (outside, point) = (base.join("outside"), base.join("dir/a/point"));
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir_all(&point).unwrap();
        fs::write(outside.join("file"), "x").unwrap();
        // A bind of the same file system: the device does not tell.
        nix::mount::mount(Some(&outside), &point, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>)
            .unwrap();
        let error = tree(&base.join("dir")).unwrap_err();
        assert!(error.to_string().contains("mount point"), "{error}");
        let parent = openat(CWD, &base, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert!(remove(&parent, OsStr::new("dir")).is_err(), "without a look at mountinfo");
        assert!(outside.join("file").exists());
        nix::mount::umount(&point).unwrap();
        tree(&base).unwrap();
    }
}
