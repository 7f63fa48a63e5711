//! From the host's root to the container's. Source: pivot_root(2), `Documentation/filesystems/sharedsubtree.rst`.

use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use super::options::propagation;
use crate::error::{Doing, Error, Remedy, Result};

/// Cuts the new mount namespace off, so that nothing mounted in it reaches the host, and makes the root file
/// system a mount of its own. `wanted` is the specification's rootfsPropagation.
///
/// # Errors
/// The propagation type is unknown, or the kernel refuses.
pub fn prepare(rootfs: &Path, wanted: Option<&str>) -> Result<()> {
    let kind = match wanted {
        None | Some("") => MsFlags::MS_SLAVE | MsFlags::MS_REC,
        Some(name) => propagation(name).ok_or_else(|| {
            Error::new(format!("config.json: linux.rootfsPropagation: '{name}' is unknown"))
                .remedy("shared, slave, private and unbindable are known, with or without a leading r")
        })?,
    };
    mount(None::<&str>, "/", None::<&str>, kind, None::<&str>).doing(|| "setting the propagation of /")?;
    // Before anything is mounted there: on a shared mount even the next step would spread to the host. pivot_root,
    // too, refuses a new root whose parent is shared.
    let cuts_all_off = kind.contains(MsFlags::MS_REC) && !kind.contains(MsFlags::MS_SHARED);
    if !cuts_all_off {
        make_parent_private(rootfs)?;
    }
    let recursive_bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(rootfs), rootfs, None::<&str>, recursive_bind, None::<&str>)
        .doing(|| format!("binding {} to itself", rootfs.display()))?;
    // pivot_root refuses a shared new root, and what is mounted in it must not spread.
    mount(None::<&str>, rootfs, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)
        .doing(|| format!("making {} private", rootfs.display()))?;
    Ok(())
}

/// Keeps what is mounted below a directory from spreading. The parent of a directory's mount is the mount with the longest
/// mount point at or above it.
///
/// # Errors
/// The mounts cannot be read, or the kernel refuses.
pub fn make_parent_private(rootfs: &Path) -> Result<()> {
    let text = crate::kernel_file::read("/proc/self/mountinfo").doing(|| "reading /proc/self/mountinfo")?;
    let parent = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(Path::new)
        .filter(|point| rootfs.starts_with(point))
        .max_by_key(|point| point.as_os_str().len())
        .unwrap_or(Path::new("/"));
    mount(None::<&str>, parent, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)
        .doing(|| format!("making {} private", parent.display()))
}

/// Makes `rootfs` the root of the mount namespace and lets go of the old one, so that no path leads back.
///
/// # Errors
/// The kernel refuses; EINVAL if the present root is the initial RAM file system.
pub fn pivot(rootfs: &Path) -> Result<()> {
    use rustix::fs::{Mode, OFlags};
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| format!("opening {}", path.display()))
    };
    let old = open(Path::new("/"))?;
    let new = open(rootfs)?;
    fchdir(&new).doing(|| format!("entering {}", rootfs.display()))?;
    // Both arguments may be the same directory: the old root then lies on top of the new one.
    pivot_root(".", ".").doing(|| format!("switching the root to {}", rootfs.display())).or_advise(
        || "the kernel cannot pivot away from an initramfs: switch_root first, or use --no-pivot",
    )?;
    fchdir(&old).doing(|| "going back to the old root")?;
    // Unmounting must not spread to the host.
    mount(None::<&str>, ".", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)
        .doing(|| "cutting off the old root")?;
    umount2(".", MntFlags::MNT_DETACH).doing(|| "unmounting the old root")?;
    chdir("/").doing(|| "entering the new root")
}

/// For `--no-pivot`: moves the new root over the old one and changes into it. The old root stays mounted beneath,
/// which is why this is not the default.
///
/// # Errors
/// The kernel refuses.
pub fn move_root(rootfs: &Path) -> Result<()> {
    chdir(rootfs).doing(|| format!("entering {}", rootfs.display()))?;
    mount(Some(rootfs), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .doing(|| format!("moving {} to /", rootfs.display()))?;
    chroot(".").doing(|| "changing the root")?;
    chdir("/").doing(|| "entering the new root")
}

/// Without a mount namespace of its own a container can only change its root directory.
///
/// # Errors
/// The kernel refuses.
pub fn change_root(rootfs: &Path) -> Result<()> {
    chroot(rootfs).doing(|| format!("changing the root to {}", rootfs.display()))?;
    chdir("/").doing(|| "entering the new root")
}

/// Sets how mounts spread to and from the container's new root.
///
/// # Errors
/// The kernel refuses.
pub fn set_root_propagation(wanted: Option<&str>) -> Result<()> {
    match wanted.and_then(propagation) {
        Some(kind) => mount(None::<&str>, "/", None::<&str>, kind, None::<&str>)
            .doing(|| "config.json: linux.rootfsPropagation: setting it on the new root"),
        None => Ok(()),
    }
}
