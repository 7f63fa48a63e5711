//! The layer between the image and the container's own: mount points and files that every container needs, so that making
//! them is no change of the container, and no commit has them.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use runtime::error::{Doing, Result};
use runtime::overlay::{is_opaque, is_whiteout};

/// Where file systems of the kernel are mounted.
const DIRS: &[&str] = &["dev", "proc", "sys"];
/// What is bound over by the container's own.
pub(super) const FILES: &[&str] = &["hosts", "hostname", "resolv.conf"];

/// Fills the layer with what the image lacks. `layers` are the image's, the lowest first.
///
/// # Errors
/// The layer cannot be written.
pub(super) fn make(init: &Path, layers: &[PathBuf]) -> Result<()> {
    let doing = || format!("filling {}", init.display());
    take_root_attributes(init, layers)?;
    for dir in DIRS {
        if look(layers, Path::new(dir)).is_none() {
            make_dir(&init.join(dir), None).doing(doing)?;
        }
    }
    let etc = look(layers, Path::new("etc"));
    if etc.as_ref().is_some_and(|metadata| !metadata.is_dir()) {
        // Whatever such an image wants, the mount points are then made when they are needed.
        return Ok(());
    }
    let missing: Vec<_> =
        FILES.iter().filter(|file| look(layers, &Path::new("etc").join(file)).is_none()).collect();
    let has_mtab = look(layers, Path::new("etc/mtab")).is_some();
    if missing.is_empty() && has_mtab {
        return Ok(());
    }
    let dir = init.join("etc");
    fs::create_dir(&dir).doing(doing)?;
    for file in missing {
        fs::write(dir.join(file), "").doing(doing)?;
    }
    if !has_mtab {
        std::os::unix::fs::symlink("/proc/mounts", dir.join("mtab")).doing(doing)?;
    }
    // The attributes of a merged directory are those of its topmost layer, which this one is now.
    make_dir(&dir, etc.as_ref()).doing(doing)
}

/// A directory at the top of the stack shows its own attributes: they must be the image's. Those of its root stand in its lowest
/// layer; archives of changes do not have the root.
///
/// # Errors
/// They cannot be set.
pub(super) fn take_root_attributes(top: &Path, layers: &[PathBuf]) -> Result<()> {
    let root = layers.first().and_then(|layer| fs::symlink_metadata(layer).ok());
    make_dir(top, root.as_ref()).doing(|| format!("setting the attributes of {}", top.display()))
}

fn make_dir(dir: &Path, like: Option<&Metadata>) -> std::io::Result<()> {
    if !dir.exists() {
        fs::create_dir(dir)?;
    }
    let (mode, uid, gid) = like.map_or((0o755, 0, 0), |like| (like.mode() & 0o7777, like.uid(), like.gid()));
    std::os::unix::fs::chown(dir, Some(uid), Some(gid))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode))?;
    if let Some(like) = like {
        let time = rustix::fs::Timespec { tv_sec: like.mtime(), tv_nsec: like.mtime_nsec() };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, dir, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// What a path is in the image, seen through its layers; `None` if it is not there.
pub(super) fn look(layers: &[PathBuf], path: &Path) -> Option<Metadata> {
    for layer in layers.iter().rev() {
        let mut at = layer.clone();
        let mut found = None;
        let mut hides_lower = false;
        for part in path.components() {
            at.push(part);
            found = fs::symlink_metadata(&at).ok();
            match &found {
                Some(metadata) if is_whiteout(metadata) => return None,
                Some(metadata) if metadata.is_dir() => hides_lower |= is_opaque(&at).unwrap_or(false),
                Some(_) if at != layer.join(path) => return None,
                Some(_) => {}
                None => break,
            }
        }
        if found.is_some() {
            return found;
        }
        if hides_lower {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_image_lacks_is_made_and_its_attributes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, init) = (dir.path().join("layer"), dir.path().join("init"));
        fs::create_dir_all(layer.join("etc")).unwrap();
        fs::create_dir(layer.join("proc")).unwrap();
        fs::create_dir(&init).unwrap();
        fs::write(layer.join("etc/hosts"), "").unwrap();
        fs::set_permissions(layer.join("etc"), fs::Permissions::from_mode(0o711)).unwrap();
        make(&init, &[layer]).unwrap();
        assert!(!init.join("proc").exists() && init.join("dev").is_dir());
        assert!(!init.join("etc/hosts").exists() && init.join("etc/hostname").is_file());
        assert_eq!(fs::metadata(init.join("etc")).unwrap().mode() & 0o7777, 0o711);
    }

    #[test]
    fn a_lower_file_is_seen_unless_a_parent_above_is_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (lower, upper) = (dir.path().join("lower"), dir.path().join("upper"));
        fs::create_dir_all(lower.join("etc")).unwrap();
        fs::write(lower.join("etc/hosts"), "").unwrap();
        fs::create_dir(&upper).unwrap();
        assert!(look(&[lower.clone(), upper.clone()], Path::new("etc/hosts")).is_some());
        std::os::unix::fs::symlink("elsewhere", upper.join("etc")).unwrap();
        assert!(look(&[lower, upper], Path::new("etc/hosts")).is_none());
    }
}
