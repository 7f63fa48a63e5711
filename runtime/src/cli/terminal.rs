//! Descriptors of the command line: console sockets, our own terminal, and what must not leak.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use crate::error::{Doing, Result};
use crate::process::channel::{connect_to, send_fd};
pub(super) use crate::process::descriptors::{
    close_others as close_other_fds, console_pair as pair, receive_console as receive,
};

/// Connects to a console socket.
pub(super) fn connect(path: &Path) -> Result<OwnedFd> {
    connect_for("--console-socket", path)
}

/// Sends a process's descriptor to a socket, if one is named; `text` is what runc sends with it.
pub(super) fn send_pidfd(path: Option<&Path>, text: &str, pidfd: &OwnedFd) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let socket = connect_for("--pidfd-socket", path)?;
    send_fd(socket.as_raw_fd(), pidfd.as_raw_fd(), text)
        .map(drop)
        .doing(|| "--pidfd-socket: sending the descriptor")
}

fn connect_for(option: &str, path: &Path) -> Result<OwnedFd> {
    connect_to(path).doing(|| format!("{option}: connecting to {}", path.display()))
}
