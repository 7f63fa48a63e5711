//! What a container may see but not change, or not see at all. Called before the root is switched: paths are resolved
//! inside the container's root, and what was resolved is what is covered.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, fstat};

use super::attributes::{Attributes, Recursive};
use super::detached::{Attached, Detached, FileSystem, change_attached};
use super::null::Null;
use super::resolve::Root;
use crate::error::{Doing, Error, Result};

/// Makes paths read-only. Those that do not exist are passed over.
///
/// # Errors
/// Names the path that cannot be made so.
pub fn read_only(root: &Root, paths: &[impl AsRef<Path>]) -> Result<()> {
    for path in paths.iter().map(AsRef::as_ref) {
        let Some(target) = existing(root, path)? else { continue };
        protect(&target).map_err(|error| {
            Error::new(format!(
                "config.json: linux.readonlyPaths: making {} read-only: {error}",
                path.display()
            ))
        })?;
    }
    Ok(())
}

fn protect(target: &OwnedFd) -> Result<()> {
    let mut view = Detached::copy_of(target, Recursive::Yes).doing(|| "binding it to itself")?;
    view.change(Attributes::READ_ONLY, Recursive::No)?;
    view.attach(target).map(drop)
}

/// Makes files read as empty and directories look empty. Those that do not exist are passed over.
///
/// # Errors
/// Names the path that cannot be covered.
pub fn mask(root: &Root, paths: &[impl AsRef<Path>], null: &Null) -> Result<()> {
    // All directories are covered by one empty file system.
    let mut empty: Option<Attached> = None;
    for path in paths.iter().map(AsRef::as_ref) {
        let Some(target) = existing(root, path)? else { continue };
        cover(&target, null, &mut empty).map_err(|error| {
            Error::new(format!("config.json: linux.maskedPaths: covering {}: {error}", path.display()))
        })?;
    }
    Ok(())
}

fn cover(target: &OwnedFd, null: &Null, empty: &mut Option<Attached>) -> Result<()> {
    let stat = fstat(target).doing(|| "looking at it")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        let null = Detached::copy_of(null, Recursive::No).doing(|| "copying the null device")?;
        return null.attach(target).map(drop);
    }
    if let Some(empty) = empty {
        let copy = Detached::copy_of(empty, Recursive::No).doing(|| "copying the empty directory")?;
        return copy.attach(target).map(drop);
    }
    let tmpfs = FileSystem::new("tmpfs")?;
    tmpfs.value("source", "tmpfs")?;
    tmpfs.value("nr_blocks", "1")?;
    tmpfs.value("nr_inodes", "1")?;
    tmpfs.flag("ro")?;
    *empty = Some(tmpfs.mount(libc::MOUNT_ATTR_RDONLY)?.attach(target)?);
    Ok(())
}

/// What a path of the container leads to; `None` if it does not exist.
fn existing(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    let found = match root.find(path) {
        Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(None),
        found => found?,
    };
    // What is mounted on the root itself would stay behind when the root is switched.
    let same = |one: &rustix::fs::Stat, other: &rustix::fs::Stat| {
        (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    };
    let stats = (fstat(&found).doing(|| "looking at a path")?, fstat(root).doing(|| "looking at the root")?);
    if same(&stats.0, &stats.1) {
        return Err(Error::new(format!("config.json: linux: {} is the root itself", path.display()))
            .remedy("root.readonly makes the root read-only; it cannot be masked"));
    }
    Ok(Some(found))
}

/// Makes the container's root itself read-only, with the other flags that it has.
///
/// # Errors
/// The kernel refuses.
pub fn read_only_root(root: &Root) -> Result<()> {
    change_attached(root, Attributes::READ_ONLY)
        .map_err(|error| Error::new(format!("config.json: root.readonly: {error}")))
}
