//! Descriptors of the command line: console sockets, our own terminal, and what must not leak.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect as connect_to, socket};

use crate::error::{Doing, Result};
pub(super) use crate::process::descriptors::{
    close_others as close_other_fds, console_pair as pair, receive_console as receive,
};

/// Connects to a console socket.
pub(super) fn connect(path: &Path) -> Result<OwnedFd> {
    let doing = || format!("--console-socket: connecting to {}", path.display());
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).doing(doing)?;
    let address = UnixAddr::new(path).doing(doing)?;
    connect_to(socket.as_raw_fd(), &address).doing(doing)?;
    Ok(socket)
}
