//! How long others may take.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use runtime::process::pidfd;

use crate::trouble::Trouble;

/// How long a subject may take for a command that should take milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for the end of a process; one that does not end in time is ended.
pub(crate) fn wait_within(pid: i32, what: &str) -> Result<(), Trouble> {
    wait_for(pid, what, PATIENCE)
}

/// The same with what is left of that time.
pub(crate) fn wait_for(pid: i32, what: &str, left: Duration) -> Result<(), Trouble> {
    let process = pidfd::open(pid)?;
    if pidfd::wait_exit(process.as_fd(), left)? {
        return Ok(());
    }
    pidfd::signal(process.as_fd(), Signal::SIGKILL)?;
    Err(Trouble::Subject(format!("'{what}' did not end within {PATIENCE:?}")))
}
