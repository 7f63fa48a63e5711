//! The listener of a filter goes to the program that decides about its calls.
//!
//! Source: config-linux.md, "The Container Process State".

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use serde::Serialize;

use super::state::{State, to_json};
use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::Seccomp;
use crate::process::channel::{connect_to, send_fd};

/// What the program is told, beside the descriptor.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    /// What the descriptors are.
    fds: [&'a str; 1],
    /// The filtered process, as the runtime sees it.
    pid: i32,
    metadata: &'a str,
    state: &'a State,
}

/// Sends the listener to the socket that the configuration names.
pub(super) fn hand_on(seccomp: Option<&Seccomp>, listener: &OwnedFd, pid: i32, state: &State) -> Result<()> {
    let seccomp = seccomp.ok_or_else(|| Error::new("linux.seccomp: a listener came without a filter"))?;
    let path =
        seccomp.listener_path.as_ref().ok_or_else(|| Error::new("linux.seccomp.listenerPath is missing"))?;
    let told = to_json(&ProcessState {
        oci_version: crate::oci::VERSION,
        fds: ["seccompFd"],
        pid,
        metadata: seccomp.listener_metadata.as_deref().unwrap_or_default(),
        state,
    })?;
    let doing =
        || format!("config.json: linux.seccomp.listenerPath: sending the listener to {}", path.display());
    let socket = connect_to(path).doing(doing).or_advise(|| "the program that decides must listen there")?;
    let sent = send_fd(socket.as_raw_fd(), listener.as_raw_fd(), &told).doing(doing)?;
    File::from(socket).write_all(&told.as_bytes()[sent..]).doing(doing)
}
