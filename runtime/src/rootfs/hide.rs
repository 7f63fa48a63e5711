//! What a container may see but not change, or not see at all. Called after the root was switched, so the paths
//! are the container's own and can lead nowhere else.

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::error::{Doing, Result};

/// Makes paths read-only. Those that do not exist are passed over.
///
/// # Errors
/// The kernel refuses one.
pub fn read_only(paths: &[impl AsRef<Path>]) -> Result<()> {
    for path in paths.iter().map(AsRef::as_ref) {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        match mount(Some(path), path, None::<&str>, flags, None::<&str>) {
            Err(Errno::ENOENT) => continue,
            bound => bound.doing(|| format!("binding {} to itself", path.display()))?,
        }
        // /proc and /sys are mounted with these three; a remount must not lose them.
        let kept = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | kept;
        mount(None::<&str>, path, None::<&str>, flags, None::<&str>)
            .doing(|| format!("making {} read-only", path.display()))?;
    }
    Ok(())
}

/// Makes files read as empty and directories look empty. Those that do not exist are passed over.
///
/// # Errors
/// The kernel refuses one.
pub fn mask(paths: &[impl AsRef<Path>]) -> Result<()> {
    let mut empty: Option<&Path> = None;
    for path in paths.iter().map(AsRef::as_ref) {
        match mount(Some("/dev/null"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::ENOTDIR) => {
                // All are covered by one empty file system. A bind mount takes its flags over.
                let covered = match empty {
                    Some(empty) => mount(Some(empty), path, None::<&str>, MsFlags::MS_BIND, None::<&str>),
                    None => {
                        let least = Some("nr_blocks=1,nr_inodes=1");
                        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_RDONLY, least)
                    }
                };
                covered.doing(|| format!("covering {}", path.display()))?;
                empty.get_or_insert(path);
            }
            Err(error) => return Err(error).doing(|| format!("covering {}", path.display())),
        }
    }
    Ok(())
}

/// Makes the container's root itself read-only.
///
/// # Errors
/// The kernel refuses.
pub fn read_only_root() -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).doing(|| "making the root read-only")
}
