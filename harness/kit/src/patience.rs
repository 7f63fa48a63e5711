//! How long others may take.

use std::os::fd::AsFd;
use std::thread::JoinHandle;
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

/// What a thread that waited with [`wait_within`] says of a process that is waited for elsewhere too. One that had to be ended has a
/// signal as its status; that says nothing on a busy host.
pub(crate) fn unless_busy(watchdog: JoinHandle<Result<(), Trouble>>) -> Result<(), Trouble> {
    match watchdog.join() {
        Ok(Err(noise @ Trouble::Noise(_))) => Err(noise),
        _ => Ok(()),
    }
}

/// The same as [`wait_within`] with what is left of that time.
pub(crate) fn wait_for(pid: i32, what: &str, left: Duration) -> Result<(), Trouble> {
    let process = pidfd::open(pid)?;
    if pidfd::wait_exit(process.as_fd(), left)? {
        return Ok(());
    }
    pidfd::signal(process.as_fd(), Signal::SIGKILL)?;
    Err(Trouble::overdue(format!("'{what}' did not end within {PATIENCE:?}")))
}
