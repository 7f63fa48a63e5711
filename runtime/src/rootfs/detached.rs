//! Mounts that are attached nowhere yet. They are made and changed by descriptor, and then moved onto a descriptor
//! that was checked: no path is looked up twice, and nobody sees a mount that lacks a flag.
//!
//! Source: open_tree(2), fsopen(2), fsconfig(2), fsmount(2), move_mount(2), mount_setattr(2).

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::MsFlags;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::attributes::{Attributes, Recursive, set_propagation};
use crate::error::{Doing, Error, Remedy, Result};

/// A mount that is attached nowhere, or was just attached.
#[derive(Debug)]
pub struct Detached {
    mount: OwnedFd,
    /// Changes that a kernel before 5.12 can make only once it is attached. No process of a container runs by then,
    /// and the mount namespace is the container's own, so nobody can use the time between.
    pending: Attributes,
}

impl Detached {
    /// A copy of the mount at a path of the host; with [`Recursive::Yes`] of those below it, too.
    ///
    /// # Errors
    /// ENOENT without the path, EPERM without CAP_SYS_ADMIN over the mount namespace.
    pub fn copy(path: &Path, recursive: Recursive) -> rustix::io::Result<Self> {
        let tree = open_tree(rustix::fs::CWD, path, clone_flags(recursive))?;
        Ok(Self::from_descriptor(tree))
    }

    /// A copy of what a descriptor refers to, which must be in the caller's mount namespace.
    ///
    /// # Errors
    /// EINVAL if it is not.
    pub fn copy_of(what: &impl AsFd, recursive: Recursive) -> rustix::io::Result<Self> {
        let flags = clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH;
        Ok(Self::from_descriptor(open_tree(what, "", flags)?))
    }

    /// Wraps a mount that somebody else opened with OPEN_TREE_CLONE.
    pub fn from_descriptor(mount: OwnedFd) -> Self {
        Self { mount, pending: Attributes::default() }
    }

    /// The descriptor.
    pub fn into_descriptor(self) -> OwnedFd {
        self.mount
    }

    /// Changes attributes of the mount.
    ///
    /// # Errors
    /// The kernel does not know one, or a user namespace may not clear it.
    pub fn change(&mut self, attributes: Attributes, recursive: Recursive) -> Result<()> {
        if attributes.is_empty() {
            return Ok(());
        }
        match attributes.apply(self, recursive) {
            Err(Errno::ENOSYS) if recursive == Recursive::No => {
                self.pending.add(attributes);
                Ok(())
            }
            changed => changed.doing(|| "setting the mount's flags").or_advise(|| {
                "recursive options need Linux 5.12, nosymfollow needs 5.14; a user namespace may clear only what it set"
            }),
        }
    }

    /// Attaches it to what a descriptor refers to. Afterwards this descriptor stands for the attached mount.
    ///
    /// # Errors
    /// EINVAL if the target is not in the caller's mount namespace, ENOTDIR for a directory over a file.
    pub fn attach(self, target: &impl AsFd) -> Result<Attached> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&self.mount, "", target, "", flags).doing(|| "attaching the mount")?;
        if !self.pending.is_empty() {
            self.pending.remount(&self.mount)?;
        }
        Ok(Attached(self.mount))
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

/// A mount that was attached, by the descriptor of the mount itself.
#[derive(Debug)]
pub struct Attached(OwnedFd);

impl Attached {
    /// Sets how mounts spread to and from it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn propagate(&self, kind: MsFlags) -> Result<()> {
        set_propagation(self, kind)
    }

    /// Changes its attributes alone, whatever the kernel.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn change(&self, attributes: Attributes) -> Result<()> {
        change_attached(self, attributes)
    }

    /// The descriptor.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Attached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Changes the attributes of an attached mount, which the descriptor's own directory must be the root of.
///
/// # Errors
/// The kernel refuses; EINVAL if it is no mount's root.
pub(super) fn change_attached(mounted: &impl AsFd, attributes: Attributes) -> Result<()> {
    match attributes.apply(mounted, Recursive::No) {
        Err(Errno::ENOSYS) => attributes.remount(mounted),
        changed => changed.doing(|| "setting the mount's flags"),
    }
}

fn clone_flags(recursive: Recursive) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive == Recursive::Yes { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// A file system that is being configured, one option at a time, so that a refusal names the option.
#[derive(Debug)]
pub struct FileSystem {
    context: OwnedFd,
    kind: String,
}

impl FileSystem {
    /// Begins with a type such as `tmpfs`.
    ///
    /// # Errors
    /// The kernel does not know it.
    pub fn new(kind: &str) -> Result<Self> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .doing(|| format!("mounting a {kind}"))
            .or_advise(|| "/proc/filesystems lists the types that the kernel knows")?;
        Ok(Self { context, kind: kind.to_owned() })
    }

    /// Sets an option that has no value.
    ///
    /// # Errors
    /// The file system refuses it.
    pub fn flag(&self, key: &str) -> Result<()> {
        fsconfig_set_flag(&self.context, key).map_err(|error| self.refused(error, &format!("option '{key}'")))
    }

    /// Sets an option to a value.
    ///
    /// # Errors
    /// The file system refuses it.
    pub fn value(&self, key: &str, value: impl AsRef<OsStr>) -> Result<()> {
        let value = value.as_ref();
        fsconfig_set_string(&self.context, key, value)
            .map_err(|error| self.refused(error, &format!("option '{key}={}'", value.display())))
    }

    /// Makes the file system, and a mount of it with these `MOUNT_ATTR_*`.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn mount(&self, attributes: u64) -> Result<Detached> {
        fsconfig_create(&self.context).map_err(|error| self.refused(error, "making it"))?;
        let attributes = u32::try_from(attributes).map_err(|_| Error::new("an attribute is unknown"))?;
        let attributes = MountAttrFlags::from_bits_retain(attributes);
        fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map(Detached::from_descriptor)
            .map_err(|error| self.refused(error, "mounting it"))
    }

    /// The kernel writes the reason for people into the context; the cause stays the error number.
    fn refused(&self, error: rustix::io::Errno, what: &str) -> Error {
        let doing = format!("mounting a {}: {what}", self.kind);
        let error = match Err::<(), _>(error).doing(|| doing) {
            Err(error) => error,
            Ok(()) => return Error::new(what),
        };
        let mut text = [0; 512];
        match rustix::io::read(&self.context, &mut text) {
            // The first letter is the kind of the message.
            Ok(length) if length > 2 => {
                let text = String::from_utf8_lossy(&text[2..length]);
                error.remedy(format!("the kernel says: {}", text.trim().escape_debug()))
            }
            _ => error.remedy("`dmesg` may say more"),
        }
    }
}
