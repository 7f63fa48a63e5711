//! Sources of mounts that lie in a directory which others may change, such as a build's context.

use std::fs;
use std::path::Path;

use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::Engine;
use super::record::{MountPoint, Record};
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::resolve::Root;

impl Engine {
    /// The record with all sources at paths that only the engine can change. What lies in another's directory is looked up there
    /// once and mounted from its descriptor, in the mount namespace of the caller.
    pub(super) fn with_fixed_sources(&self, record: &Record) -> Result<Record> {
        let mut fixed = record.clone();
        for (number, mount) in fixed.mounts.iter_mut().enumerate() {
            let Some(within) = mount.within.take() else { continue };
            let place = self.dir(&record.id).join("sources").join(number.to_string());
            fix(&within, mount, &place).map_err(|error| {
                Error::new(format!("source of the mount at {}: {error}", mount.destination.display()))
            })?;
            mount.source = place;
        }
        Ok(fixed)
    }
}

fn fix(within: &Path, mount: &MountPoint, place: &Path) -> Result<()> {
    let found = Root::open(within)?.find(&mount.source)?;
    let stat = rustix::fs::fstat(&found).doing(|| "looking at it")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(&found, "", flags).doing(|| "opening it as a mount")?;
    let doing = || format!("making {}", place.display());
    if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        fs::create_dir_all(place).doing(doing)?;
    } else {
        fs::create_dir_all(place.parent().unwrap_or(place))
            .and_then(|()| fs::write(place, ""))
            .doing(doing)?;
    }
    move_mount(&tree, "", rustix::fs::CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .doing(|| format!("mounting it at {}", place.display()))
}
