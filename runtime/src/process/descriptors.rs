//! Descriptors that go to a process, and those that must not.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::channel::receive_fd;
use super::protect;
use crate::error::{Doing, Error, Result};

/// A console socket to ourselves: our end, and the one for the container.
///
/// # Errors
/// No descriptors are left.
pub fn console_pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .doing(|| "making a socket pair")
}

/// The terminal's master that came over our own console socket.
///
/// # Errors
/// The other end was closed before it was sent.
pub fn receive_console(socket: &OwnedFd) -> Result<OwnedFd> {
    receive_fd(socket.as_raw_fd()).doing(|| "receiving the container's terminal")
}

/// Marks every descriptor after those to be kept, so that the application does not get it.
///
/// # Errors
/// One that is to be kept is not open.
pub fn close_others(preserve: u32) -> Result<()> {
    // Descriptors passed by socket activation are counted apart.
    let passed: u32 = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    let first = 3 + preserve + passed;
    for kept in 3..first {
        let kept = i32::try_from(kept).unwrap_or(i32::MAX);
        // SAFETY: F_GETFD takes no pointer, and any number is allowed.
        if protect::is_view(kept) || unsafe { libc::fcntl(kept, libc::F_GETFD) } < 0 {
            return Err(Error::new(format!("--preserve-fds: descriptor {kept} is not open")));
        }
    }
    // SAFETY: only marks descriptors; none is closed under anybody's hands.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return Ok(());
    }
    // Linux 5.10 and older do not know the flag.
    for entry in std::fs::read_dir("/proc/self/fd").doing(|| "listing the open descriptors")?.flatten() {
        let number = entry.file_name().to_string_lossy().parse().unwrap_or(0);
        if number >= i32::try_from(first).unwrap_or(i32::MAX) {
            // SAFETY: only marks a descriptor.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}
