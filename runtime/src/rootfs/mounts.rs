//! The mounts of a container, made by descriptors that were resolved inside its root.

use std::fs::FileType;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::cgroupfs;
use super::options::{Options, Recursive};
use super::resolve::{Root, by_descriptor};
use crate::cgroup::{Group, Layout};
use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::Mount;

/// What mounting needs to know beside the mount itself.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Relative sources of bind mounts start here.
    pub bundle: &'a Path,
    /// The container's group, for mounts of type `cgroup`.
    pub group: &'a Group,
    /// The hierarchies of the host, likewise.
    pub layout: &'a Layout,
    /// Whether the container has a cgroup namespace of its own.
    pub own_cgroup_namespace: bool,
}

/// Makes one mount.
///
/// # Errors
/// Names the mount by its number in `config.json` and its destination.
pub fn make(root: &Root, number: usize, wanted: &Mount, around: &Surroundings<'_>) -> Result<()> {
    let options = Options::parse(&wanted.options);
    let kind = wanted.kind.as_deref().unwrap_or("none");
    let made = if options.bind.is_some() || kind == "bind" {
        bind(root, wanted, &options, around.bundle)
    } else if is_cgroup(wanted) {
        cgroupfs::make(root, &wanted.destination, &options, around)
    } else {
        fresh(root, wanted, kind, &options)
    };
    made.map_err(|error| {
        Error::new(format!("config.json: mounts[{number}] ({}): {error}", wanted.destination.display()))
    })
}

/// Whether a mount shows control groups.
pub fn is_cgroup(wanted: &Mount) -> bool {
    matches!(wanted.kind.as_deref(), Some("cgroup" | "cgroup2"))
}

fn bind(root: &Root, wanted: &Mount, options: &Options, bundle: &Path) -> Result<()> {
    let source = wanted.source.as_ref().ok_or_else(|| Error::new("a bind mount needs a source"))?;
    let source = bundle.join(source);
    let kind = std::fs::metadata(&source)
        .doing(|| format!("source {}", source.display()))
        .or_advise(|| "the source of a bind mount must exist on the host")?
        .file_type();
    let target = target_for(root, &wanted.destination, kind)?;
    let recursion = match options.bind {
        Some(Recursive::No) => MsFlags::empty(),
        _ => MsFlags::MS_REC,
    };
    mount(Some(&source), &by_descriptor(&target), None::<&str>, MsFlags::MS_BIND | recursion, None::<&str>)
        .doing(|| format!("binding {}", source.display()))?;
    // The old descriptor still refers to what is now covered.
    let mounted = root.find(&wanted.destination)?;
    if !(options.set | options.clear).is_empty() {
        remount(&mounted, options)?;
    }
    if options.recursive_read_only {
        read_only_below(&mounted)?;
    }
    // Without a word a bind mount must not receive what the host mounts later.
    set_propagation(&mounted, options.propagation.unwrap_or(MsFlags::MS_PRIVATE | MsFlags::MS_REC))
}

/// A bind mount takes its flags from its source; other ones need a remount, which must not drop those flags that
/// the source has and a user namespace may not clear.
fn remount(mounted: &OwnedFd, options: &Options) -> Result<()> {
    let target = by_descriptor(mounted);
    let change = |flags: MsFlags| {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
        mount(None::<&str>, &target, None::<&str>, flags, None::<&str>)
    };
    match change(options.set) {
        Err(nix::errno::Errno::EPERM) => change(options.set | (inherited_flags(mounted)? & !options.clear))
            .doing(|| "setting the mount's flags"),
        changed => changed.doing(|| "setting the mount's flags"),
    }
}

fn inherited_flags(mounted: &OwnedFd) -> Result<MsFlags> {
    let has = fstatvfs(mounted).doing(|| "reading the mount's flags")?.flags();
    Ok([
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ]
    .into_iter()
    .filter(|(flag, _)| has.contains(*flag))
    .fold(MsFlags::empty(), |all, (_, flag)| all | flag))
}

/// `rro`: mount_setattr(2) is the one call that reaches the mounts below.
fn read_only_below(mounted: &OwnedFd) -> Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let attributes = MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, user_namespace: 0 };
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(mounted);
    // SAFETY: the path is a C string, the attributes are initialised and of the size given, and both live on.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            descriptor,
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    nix::errno::Errno::result(result)
        .map(drop)
        .doing(|| "option rro: making the mounts below read-only")
        .or_advise(|| "it needs Linux 5.12; use ro where the source has no mounts below it")
}

/// Sets how mounts spread to and from this one.
pub(super) fn set_propagation(mounted: &impl AsFd, kind: MsFlags) -> Result<()> {
    mount(None::<&str>, &by_descriptor(mounted), None::<&str>, kind, None::<&str>)
        .doing(|| "setting the mount's propagation")
}

fn fresh(root: &Root, wanted: &Mount, kind: &str, options: &Options) -> Result<()> {
    let target = root.ensure_dir(&wanted.destination, 0o755)?;
    if matches!(kind, "proc" | "sysfs") {
        // Masked and read-only paths below them are found by name later, and so must mean these very mounts.
        root.find_no_links(&wanted.destination)?;
    }
    let mut data = options.data.clone();
    if kind == "tmpfs" && !data.split(',').any(|option| option.starts_with("mode=")) {
        let mode = std::fs::metadata(by_descriptor(&target)).doing(|| "reading the mount point's mode")?;
        let separator = if data.is_empty() { "" } else { "," };
        data = format!("{data}{separator}mode={:o}", mode.permissions().mode() & 0o7777);
    }
    let source = wanted.source.clone().unwrap_or_else(|| PathBuf::from(kind));
    mount(Some(&source), &by_descriptor(&target), Some(kind), options.set, Some(data.as_str()))
        .doing(|| format!("mounting a {kind} with options '{}'", wanted.options.join(",")))
        .or_advise(
            || "`dmesg` may say which option the file system refused; /proc/filesystems lists those known",
        )?;
    match options.propagation {
        Some(kind) => set_propagation(&root.find(&wanted.destination)?, kind),
        None => Ok(()),
    }
}

fn target_for(root: &Root, destination: &Path, source: FileType) -> Result<OwnedFd> {
    if source.is_dir() { root.ensure_dir(destination, 0o755) } else { root.ensure_file(destination) }
}
