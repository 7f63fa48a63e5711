//! Loop devices: block devices of the checks' own. Source: loop(4).

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::trouble::Trouble;

// From linux/loop.h.
const LOOP_SET_FD: libc::c_ulong = 0x4C00;
const LOOP_CLR_FD: libc::c_ulong = 0x4C01;
const LOOP_CTL_ADD: libc::c_ulong = 0x4C80;
const LOOP_CTL_REMOVE: libc::c_ulong = 0x4C81;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;

/// A loop device over a sparse file; freed when dropped.
#[derive(Debug)]
pub struct LoopDevice {
    /// Its node on the host.
    pub path: PathBuf,
    /// Its numbers.
    pub major: u32,
    /// Its numbers.
    pub minor: u32,
    device: Option<File>,
    _backing: File,
    /// Its number, if it was made for us.
    made: Option<libc::c_int>,
}

impl LoopDevice {
    /// Whether there is loop support at all.
    pub fn available() -> bool {
        Path::new("/dev/loop-control").exists()
    }

    /// Attaches a fresh file of `bytes`, at `backing`, to a device that is made for it. One that is there already will do where
    /// none can be made; but it keeps the owner of what was first written back through it for as long as it exists.
    ///
    /// # Errors
    /// There is no free device.
    pub fn attach(backing: &Path, bytes: u64) -> Result<Self, Trouble> {
        let file = File::options().read(true).write(true).create_new(true).open(backing)?;
        file.set_len(bytes)?;
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        // SAFETY: LOOP_CTL_ADD takes a number by value; -1 is any.
        let made = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_ADD, -1) }).ok();
        if let Some(number) = made {
            match Self::bind(number, &file) {
                Ok(device) => return Self::describe(number, device, file, made),
                Err(_) => remove(number),
            }
        }
        // Another process may take the free device first.
        for _ in 0..16 {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument.
            let number = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
            match Self::bind(number, &file) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error.into()),
                Ok(device) => return Self::describe(number, device, file, None),
            }
        }
        Err(Trouble::Harness("no loop device stays free".into()))
    }

    fn bind(number: libc::c_int, file: &File) -> std::io::Result<File> {
        let device = File::options().read(true).write(true).open(node(number))?;
        // While somebody holds this lock udev does not look into the device: the pages that it reads are charged to it, and so
        // would be what others then write to them. Source: systemd.io/BLOCK_DEVICE_LOCKING.
        device.lock()?;
        // SAFETY: LOOP_SET_FD takes a descriptor by value.
        Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD, file.as_raw_fd()) })?;
        Ok(device)
    }

    fn describe(
        number: libc::c_int,
        device: File,
        backing: File,
        made: Option<libc::c_int>,
    ) -> Result<Self, Trouble> {
        let id = device.metadata()?.rdev();
        let (major, minor) = (libc::major(id), libc::minor(id));
        Ok(Self { path: node(number), major, minor, device: Some(device), _backing: backing, made })
    }

    /// Writes all of it to the file, and forgets what was cached.
    ///
    /// # Errors
    /// The device fails.
    pub fn flush(&self) -> Result<(), Trouble> {
        // From linux/fs.h.
        const BLKFLSBUF: libc::c_ulong = 0x1261;
        let Some(device) = &self.device else { return Ok(()) };
        device.sync_all()?;
        // SAFETY: BLKFLSBUF takes no argument.
        Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), BLKFLSBUF, 0) })?;
        Ok(())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let Some(device) = self.device.take() else { return };
        // SAFETY: LOOP_CLR_FD takes no argument. If others still have it open it goes when they close it.
        unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD, 0) };
        drop(device);
        if let Some(number) = self.made {
            remove(number);
        }
    }
}

fn node(number: libc::c_int) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// Removes a device that was made. Others, such as udev, may look at it for a moment.
fn remove(number: libc::c_int) {
    let Ok(control) = File::options().read(true).write(true).open("/dev/loop-control") else { return };
    for _ in 0..REMOVALS {
        // SAFETY: LOOP_CTL_REMOVE takes a number by value.
        let removed = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_REMOVE, number) });
        if removed != Err(Errno::EBUSY) {
            return;
        }
        // No event tells that the last one has closed it.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// How often a removal is tried: half a second.
const REMOVALS: u32 = 100;
