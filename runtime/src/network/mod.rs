//! Network devices of a container, the bridges between them, and ports published on the host. Source: netdevice(7).

mod bridge;
mod link;
mod netlink;
pub mod publish;

pub use bridge::{Attached, Network, Networks, RANGE};
pub use link::{bring_up, class_id_of_listener, limit_rate, make_pair, remove as remove_device};

use std::os::fd::AsRawFd;

use nix::errno::Errno;

use crate::error::{Doing, Result};

/// A new network namespace has a loopback device, but it is down: brings it up in the caller's.
///
/// # Errors
/// The kernel refuses.
pub fn loopback_up() -> Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let doing = || "bringing the loopback device up";
    let socket =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).doing(doing)?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).expect("a low bit");
    // SAFETY: SIOCSIFFLAGS reads an ifreq through the pointer.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    Errno::result(result).map(drop).doing(doing)
}
