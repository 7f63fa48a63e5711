//! What a mount allows, beside what its file system does: mount_setattr(2) on the mount's own descriptor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::resolve::by_descriptor;
use crate::error::{Doing, Error, Remedy, Result};

/// Whether something reaches the mounts below a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursive {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// Attributes to set on a mount and to clear from it, as `MOUNT_ATTR_*`. What is in neither stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// To be set.
    pub set: u64,
    /// To be cleared.
    pub clear: u64,
}

impl Attributes {
    /// Nothing on the mount can be changed.
    pub const READ_ONLY: Self = Self { set: libc::MOUNT_ATTR_RDONLY, clear: 0 };

    /// Whether nothing is to be changed.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Adds a later wish, which wins over earlier ones.
    pub fn add(&mut self, later: Self) {
        self.set = (self.set & !later.clear) | later.set;
        self.clear = (self.clear & !later.set) | later.clear;
        // The times are one field of three values: the kernel wants it cleared as a whole before one is set.
        if (later.set | later.clear) & libc::MOUNT_ATTR__ATIME != 0 {
            self.set = (self.set & !libc::MOUNT_ATTR__ATIME) | (later.set & libc::MOUNT_ATTR__ATIME);
            self.clear |= libc::MOUNT_ATTR__ATIME;
        }
    }

    /// Changes a mount, attached or not.
    ///
    /// # Errors
    /// ENOSYS before Linux 5.12, EPERM where a user namespace may not clear one, EINVAL for an attribute that the
    /// kernel does not know.
    pub fn apply(self, mounted: &impl AsFd, recursive: Recursive) -> nix::Result<()> {
        let (attr_set, attr_clr) = (self.set, self.clear);
        set(mounted, libc::mount_attr { attr_set, attr_clr, propagation: 0, userns_fd: 0 }, recursive)
    }

    /// Gives a mount that is not attached yet these attributes and no others, and takes it out of its peer group.
    ///
    /// # Errors
    /// Same errors as [`Attributes::apply`].
    pub(super) fn replace(self, mounted: &impl AsFd) -> nix::Result<()> {
        let all = libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC
            | libc::MOUNT_ATTR_NODIRATIME
            | libc::MOUNT_ATTR_NOSYMFOLLOW
            | libc::MOUNT_ATTR__ATIME;
        let attributes = libc::mount_attr {
            attr_set: self.set,
            attr_clr: all,
            propagation: libc::MS_PRIVATE,
            userns_fd: 0,
        };
        set(mounted, attributes, Recursive::No)
    }

    /// [`Attributes::apply`] without mount_setattr(2), for an attached mount alone: mount(2) reaches it through its descriptor, so
    /// no name is looked up here either.
    ///
    /// # Errors
    /// EPERM where a user namespace may not clear one.
    pub(super) fn remount(self, mounted: &impl AsFd) -> Result<()> {
        let doing = || "setting the mount's flags";
        let flags = FLAGS.into_iter().fold(kept(mounted)?, |flags, (attribute, flag)| {
            if self.set & attribute == attribute {
                flags | flag
            } else if self.clear & attribute == attribute {
                flags - flag
            } else {
                flags
            }
        });
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
        mount(None::<&str>, &by_descriptor(mounted), None::<&str>, flags, None::<&str>).doing(doing)
    }
}

/// MOUNT_ATTR_* beside MS_*.
const FLAGS: [(u64, MsFlags); 7] = [
    (libc::MOUNT_ATTR_RDONLY, MsFlags::MS_RDONLY),
    (libc::MOUNT_ATTR_NOSUID, MsFlags::MS_NOSUID),
    (libc::MOUNT_ATTR_NODEV, MsFlags::MS_NODEV),
    (libc::MOUNT_ATTR_NOEXEC, MsFlags::MS_NOEXEC),
    (libc::MOUNT_ATTR_NODIRATIME, MsFlags::MS_NODIRATIME),
    (libc::MOUNT_ATTR_NOATIME, MsFlags::MS_NOATIME),
    (libc::MOUNT_ATTR_STRICTATIME, MsFlags::MS_STRICTATIME),
];

/// The flags that a mount has: a remount drops what is not said again.
fn kept(mounted: &impl AsFd) -> Result<MsFlags> {
    let has = fstatvfs(mounted).doing(|| "reading the mount's flags")?.flags();
    let known = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let flags = known
        .into_iter()
        .filter(|(flag, _)| has.contains(*flag))
        .fold(MsFlags::empty(), |all, (_, flag)| all | flag);
    let times = MsFlags::MS_NOATIME | MsFlags::MS_RELATIME;
    Ok(if flags.intersects(times) { flags } else { flags | MsFlags::MS_STRICTATIME })
}

/// Sets how mounts spread to and from one that is attached. `kind` is one of MS_SHARED, MS_SLAVE, MS_PRIVATE and
/// MS_UNBINDABLE, with MS_REC for those below too.
pub(super) fn set_propagation(mounted: &impl AsFd, kind: MsFlags) -> Result<()> {
    mount(None::<&str>, &by_descriptor(mounted), None::<&str>, kind, None::<&str>)
        .doing(|| "setting the mount's propagation")
}

/// Shows the owners of files through the id mapping of a user namespace. The mount must not be attached yet.
///
/// # Errors
/// The kernel or the file system cannot do it, or the caller lacks CAP_SYS_ADMIN where the file system was mounted.
pub(super) fn map_ids(mounted: &impl AsFd, by: BorrowedFd<'_>, recursive: Recursive) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(by.as_raw_fd()).map_err(|_| Error::new("a descriptor is negative"))?,
    };
    set(mounted, attributes, recursive)
        .doing(|| "option idmap: mapping the ids of the mount")
        .or_advise(|| "it needs Linux 5.12, and a file system that supports it, of which the caller is root")
}

fn set(mounted: &impl AsFd, attributes: libc::mount_attr, recursive: Recursive) -> nix::Result<()> {
    let below = if recursive == Recursive::Yes { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, the attributes are initialised and of the size given, and both live on.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mounted.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | below,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(all: &[(u64, u64)]) -> Attributes {
        let mut sum = Attributes::default();
        all.iter().for_each(|&(set, clear)| sum.add(Attributes { set, clear }));
        sum
    }

    #[test]
    fn the_last_of_two_opposites_wins() {
        let read_only = libc::MOUNT_ATTR_RDONLY;
        assert_eq!(add(&[(read_only, 0), (0, read_only)]), Attributes { set: 0, clear: read_only });
        assert_eq!(add(&[(0, read_only), (read_only, 0)]), Attributes { set: read_only, clear: 0 });
    }

    #[test]
    fn times_are_cleared_as_a_whole() {
        let all = libc::MOUNT_ATTR__ATIME;
        let (never, always) = (libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR_STRICTATIME);
        assert_eq!(add(&[(never, all)]), Attributes { set: never, clear: all });
        assert_eq!(add(&[(never, all), (always, all)]), Attributes { set: always, clear: all });
        assert_eq!(add(&[(never, all), (0, all)]), Attributes { set: 0, clear: all });
    }
}
