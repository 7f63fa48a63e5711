//! Loop devices: block devices of the checks' own. Source: loop(4).

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::check::Trouble;

// From linux/loop.h.
const LOOP_SET_FD: libc::c_ulong = 0x4C00;
const LOOP_CLR_FD: libc::c_ulong = 0x4C01;
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
    device: File,
    _backing: File,
}

impl LoopDevice {
    /// Whether there is loop support at all.
    pub fn available() -> bool {
        Path::new("/dev/loop-control").exists()
    }

    /// Attaches a fresh file of `bytes`, at `backing`, to a free device.
    ///
    /// # Errors
    /// There is no free device.
    pub fn attach(backing: &Path, bytes: u64) -> Result<Self, Trouble> {
        let file = File::options().read(true).write(true).create_new(true).open(backing)?;
        file.set_len(bytes)?;
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        // Another process may take the free device first.
        for _ in 0..16 {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument.
            let number = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::options().read(true).write(true).open(&path)?;
            // SAFETY: LOOP_SET_FD takes a descriptor by value.
            match Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD, file.as_raw_fd()) }) {
                Err(Errno::EBUSY) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    let id = device.metadata()?.rdev();
                    let (major, minor) = (libc::major(id), libc::minor(id));
                    return Ok(Self { path, major, minor, device, _backing: file });
                }
            }
        }
        Err(Trouble::Harness("no loop device stays free".into()))
    }

    /// Writes all of it to the file, and forgets what was cached.
    ///
    /// # Errors
    /// The device fails.
    pub fn flush(&self) -> Result<(), Trouble> {
        self.device.sync_all()?;
        // From linux/fs.h.
        const BLKFLSBUF: libc::c_ulong = 0x1261;
        // SAFETY: BLKFLSBUF takes no argument.
        Errno::result(unsafe { libc::ioctl(self.device.as_raw_fd(), BLKFLSBUF, 0) })?;
        Ok(())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // SAFETY: LOOP_CLR_FD takes no argument. If others still have it open it goes when they close it.
        unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_CLR_FD, 0) };
    }
}
