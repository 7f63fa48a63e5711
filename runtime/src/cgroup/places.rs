//! The directory of a group on each hierarchy: where it lies, and how it is made.

use std::path::{Path, PathBuf};

use super::{Hierarchy, Layout, Version, files};
use crate::error::{Doing, Error, Remedy, Result};

/// A group is removed with its container, so it must not be somebody else's.
fn refuse_used(dir: &Path) -> Result<()> {
    if files::processes_below(dir).is_empty() {
        return Ok(());
    }
    Err(Error::new(format!("config.json: linux.cgroupsPath: {} has processes in it", dir.display()))
        .remedy("give each container a group of its own"))
}

/// The directory of the group `path` on a hierarchy.
pub(super) fn home(layout: &Layout, hierarchy: &Hierarchy, own: &str, path: &Path) -> Result<PathBuf> {
    let clean: PathBuf =
        path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
    if clean.as_os_str().is_empty() || path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(Error::new(format!(
            "config.json: linux.cgroupsPath: '{}' does not name a group below the root",
            path.display()
        )));
    }
    if path.is_absolute() {
        return Ok(hierarchy.mount_point.join(clean));
    }
    let mut base = layout
        .group_of(hierarchy, own)
        .and_then(|group| hierarchy.dir(group))
        .unwrap_or_else(|| hierarchy.mount_point.clone());
    // On v2 the caller's own group has processes in it, so no controller could be handed to a child: one up.
    if hierarchy.version == Version::V2 && base != hierarchy.mount_point {
        base.pop();
    }
    Ok(base.join(clean))
}

pub(super) fn make_dirs(hierarchy: &Hierarchy, dir: &Path) -> Result<()> {
    let interface = hierarchy.version.interface();
    let below: Vec<_> = dir
        .strip_prefix(&hierarchy.mount_point)
        .expect("a group's directory lies below its hierarchy")
        .components()
        .collect();
    let mut parent = hierarchy.mount_point.clone();
    for component in below {
        let child = parent.join(component);
        match std::fs::create_dir(&child) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if child == dir {
                    refuse_used(dir)?;
                }
            }
            made => made.doing(|| format!("making the cgroup {}", child.display())).or_advise(|| {
                "run as root on a host whose cgroup mounts are writable, or name a delegated group in linux.cgroupsPath"
            })?,
        }
        if let Err(error) = interface.prepare(hierarchy, &parent, &child) {
            if child == dir {
                let _ = std::fs::remove_dir(dir);
            }
            return Err(error);
        }
        parent = child;
    }
    Ok(())
}

/// Gives a group of v2 to a user, with those files by which its owner makes groups below. Source: `/sys/kernel/cgroup/delegate`,
/// `Documentation/admin-guide/cgroup-v2.rst`, "Model of Delegation".
pub(super) fn give_to(dir: &Path, owner: u32) -> Result<()> {
    let doing = |path: &Path| format!("giving {} to user {owner}", path.display());
    std::os::unix::fs::chown(dir, Some(owner), None).doing(|| doing(dir))?;
    let listed = crate::kernel_file::read("/sys/kernel/cgroup/delegate").unwrap_or_default();
    let known = "cgroup.procs cgroup.subtree_control cgroup.threads".to_owned();
    let files = if listed.trim().is_empty() { known } else { listed };
    for path in files.split_whitespace().map(|file| dir.join(file)) {
        match std::os::unix::fs::chown(&path, Some(owner), None) {
            // The kernel names files of all controllers.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            changed => changed.doing(|| doing(&path))?,
        }
    }
    Ok(())
}

/// The error for limits whose controller is on no hierarchy.
pub(super) fn missing(controller: &str, field: &str) -> Error {
    Error::new(format!("config.json: {field}: no cgroup hierarchy that is mounted has '{controller}'"))
        .remedy(
            "mount it, boot without cgroup_disable for it, or drop the field; `cat /proc/cgroups` shows what the kernel has",
        )
}
