//! From the host's root to the container's. Source: pivot_root(2), `Documentation/filesystems/sharedsubtree.rst`.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, pivot_root};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, move_mount};

use super::attributes::Recursive;
use super::detached::Detached;
use super::options::propagation;
use super::resolve::Root;
use crate::error::{Doing, Error, Remedy, Result};

/// From linux/magic.h.
const SYSFS_MAGIC: rustix::fs::FsWord = 0x6265_6572;

/// Cuts the new mount namespace off, so that nothing mounted in it reaches the host, and makes the root file
/// system a mount of its own, which is returned. `wanted` is the specification's rootfsPropagation.
///
/// # Errors
/// The propagation type is unknown, or the kernel refuses.
pub fn prepare(rootfs: &Path, wanted: Option<&str>) -> Result<Root> {
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
    let beneath = Root::open(rootfs)?;
    let view = Detached::copy_of(&beneath, Recursive::Yes)
        .doing(|| format!("binding {} to itself", rootfs.display()))?;
    let mounted = view.attach(&beneath)?;
    // pivot_root refuses a shared new root, and what is mounted in it must not spread.
    mounted.propagate(MsFlags::MS_PRIVATE)?;
    Ok(Root::from_descriptor(mounted.into_descriptor(), rootfs))
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

/// Makes the directory at a path the root of the mount namespace: [`pivot_to`].
///
/// # Errors
/// As there.
pub fn pivot(rootfs: &Path) -> Result<()> {
    pivot_to(&Root::open(rootfs)?)
}

/// Makes a mount the root of the mount namespace and lets go of the old one, so that no path leads back.
///
/// # Errors
/// The kernel refuses; EINVAL if the present root is the initial RAM file system.
pub fn pivot_to(new: &Root) -> Result<()> {
    let name = new.shown().display();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, Mode::empty()).doing(|| "opening /")?;
    rustix::process::fchdir(new).doing(|| format!("entering {name}"))?;
    // Both arguments may be the same directory: the old root then lies on top of the new one.
    pivot_root(".", ".").doing(|| format!("switching the root to {name}")).or_advise(
        || "the kernel cannot pivot away from an initramfs: switch_root first, or use --no-pivot",
    )?;
    rustix::process::fchdir(&old).doing(|| "going back to the old root")?;
    // Unmounting must not spread to the host.
    mount(None::<&str>, ".", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)
        .doing(|| "cutting off the old root")?;
    umount2(".", MntFlags::MNT_DETACH).doing(|| "unmounting the old root")?;
    chdir("/").doing(|| "entering the new root")
}

/// For `--no-pivot`: moves the new root over the old one, takes off everything that was mounted in the old one, and changes into
/// the new one. The file system of the old root itself stays beneath, which is why this is not the default.
///
/// A procfs or sysfs that stayed mounted there would be seen by nobody, but the kernel would take it as proof that all of it may be
/// seen, and let a user namespace inside mount a new one without the masks. Source: `mount_too_revealing` in fs/namespace.c.
///
/// # Errors
/// The kernel refuses.
pub fn move_root(new: &Root) -> Result<()> {
    let name = new.shown().display();
    let old = mount_points()?;
    rustix::process::fchdir(new).doing(|| format!("entering {name}"))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(new, "", CWD, "/", flags).doing(|| format!("moving {name} to /"))?;
    // The new root is mounted over the old one, but this process's root is still the old one.
    for (point, kind) in old.iter().rev() {
        let taken = umount2(point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        // In a user namespace the host's mounts are locked to their places. Then they are covered.
        if taken.is_err() && matches!(kind.as_str(), "proc" | "sysfs") && still_there(point, kind)? {
            let flags = MsFlags::MS_RDONLY;
            mount(Some("tmpfs"), point, Some("tmpfs"), flags, Some("nr_blocks=1,nr_inodes=1"))
                .doing(|| format!("covering the old root's {}", point.display()))?;
        }
    }
    chroot(".").doing(|| "changing the root")?;
    chdir("/").doing(|| "entering the new root")
}

/// All mount points but the root, in the order in which they were mounted, with their types. Those of the new root are there too:
/// once it was moved away, nothing is mounted at their old paths any more, but for what the host had mounted beneath.
fn mount_points() -> Result<Vec<(PathBuf, String)>> {
    let infos = procfs::process::Process::myself()
        .and_then(|own| own.mountinfo())
        .map_err(|error| Error::new(format!("reading /proc/self/mountinfo: {error}")))?;
    Ok(infos
        .into_iter()
        .filter(|info| info.mount_point != Path::new("/"))
        .map(|info| (info.mount_point, info.fs_type))
        .collect())
}

/// Whether a file system of this type is at a mount point of the old root.
fn still_there(point: &Path, kind: &str) -> Result<bool> {
    let magic = if kind == "proc" { rustix::fs::PROC_SUPER_MAGIC } else { SYSFS_MAGIC };
    match rustix::fs::statfs(point) {
        Ok(file_system) => Ok(file_system.f_type == magic),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error).doing(|| format!("looking at the old root's {}", point.display())),
    }
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
