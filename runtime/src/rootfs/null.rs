//! /dev/null that is known to be the null device. An image may bring any file of that name (CVE-2025-31133).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor};

use crate::error::{Doing, Error, Remedy, Result};

/// The host's null device, opened before an image can interfere.
#[derive(Debug)]
pub struct Null(OwnedFd);

impl Null {
    /// Opens it, as a place only: this cannot be read or written.
    ///
    /// # Errors
    /// What lies at /dev/null is something else.
    pub fn open() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open("/dev/null", flags, Mode::empty())
            .doing(|| "opening /dev/null")
            .or_advise(|| "paths are masked with it")?;
        if is_null(&opened)? { Ok(Self(opened)) } else { Err(something_else()) }
    }
}

/// Opens the caller's null device for reading and writing.
///
/// # Errors
/// What lies at /dev/null is something else.
pub fn open_device() -> Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened =
        rustix::fs::open("/dev/null", flags, Mode::empty()).doing(|| "opening /dev/null for output")?;
    if is_null(&opened)? { Ok(opened.into()) } else { Err(something_else()) }
}

fn something_else() -> Error {
    Error::new("/dev/null is not the null device (a character device, 1:3)")
        .remedy("`mknod -m 666 /dev/null c 1 3` makes it")
}

impl AsFd for Null {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether a descriptor is that of a null device.
///
/// # Errors
/// It cannot be looked at.
pub fn is_null(fd: &impl AsFd) -> Result<bool> {
    is_character(fd, 1, 3)
}

/// Whether a descriptor is that of a character device with this number.
pub(super) fn is_character(fd: &impl AsFd, wanted_major: u32, wanted_minor: u32) -> Result<bool> {
    let stat = fstat(fd).doing(|| "looking at a device")?;
    let number = (major(stat.st_rdev), minor(stat.st_rdev));
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && number == (wanted_major, wanted_minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_null_device_is_one() {
        let open = |path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(is_null(&open("/dev/null")).unwrap());
        assert!(!is_null(&open("/dev/zero")).unwrap() && !is_null(&open("/etc/passwd")).unwrap());
        Null::open().unwrap();
    }
}
