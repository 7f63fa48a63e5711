//! Processes by descriptor: no PID can be recycled under one's hands. Source: pidfd_open(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::signal::Signal;
use crate::deadline::Deadline;
use crate::error::{Doing, Error, Result};

/// Opens a live (or not yet reaped) process.
///
/// # Errors
/// There is no such process.
pub fn open(pid: i32) -> Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or_else(|| Error::new("0 is not a process id"))?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .doing(|| format!("opening process {}", pid.as_raw_nonzero()))
}

/// The PID of a process, as the procfs at /proc counts them. `None` if it is gone or not to be seen there.
pub fn pid(process: BorrowedFd<'_>) -> Option<i32> {
    let info = crate::kernel_file::read(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

/// Sends a signal.
///
/// # Errors
/// The process has been reaped, or may not be signalled.
pub fn signal(process: BorrowedFd<'_>, signal: impl Into<Signal>) -> Result<()> {
    let signal = signal.into();
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo the kernel makes one as for kill(2).
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal.number(), nothing, 0)
    };
    nix::errno::Errno::result(result).map(drop).doing(|| format!("sending {signal}"))
}

/// Waits until a process, anybody's, has exited; says whether it did so in time.
///
/// # Errors
/// The descriptor is not a process's.
pub fn wait_exit(process: BorrowedFd<'_>, patience: Duration) -> Result<bool> {
    let deadline = Deadline::after(patience);
    let mut fds = [PollFd::new(process, PollFlags::POLLIN)];
    loop {
        let passed = deadline.has_passed();
        match poll(&mut fds, deadline.timeout()) {
            Err(nix::errno::Errno::EINTR) => {}
            ready if ready.doing(|| "waiting for a process")? > 0 => return Ok(true),
            _ if passed => return Ok(false),
            // poll(2) cannot wait for a month.
            _ => {}
        }
    }
}

/// Reaps a child and returns its exit status as a shell would: 128 + n if signal n ended it.
///
/// # Errors
/// It is not a child of the caller.
pub fn reap(child: impl AsFd) -> Result<i32> {
    loop {
        // __WALL: a clone without an exit signal would otherwise not be seen.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::__WALL;
        match waitid(Id::PIDFd(child.as_fd()), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            Ok(WaitStatus::Exited(_, status)) => return Ok(status),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(_) => {}
            Err(error) => return Err(error).doing(|| "waiting for a child"),
        }
    }
}

/// When a process started, in clock ticks since boot: with its PID this names it for ever. `None` if it is
/// gone or a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = crate::kernel_file::read(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold anything, so fields are counted after its last parenthesis.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then(|| fields.nth(18)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_start_time_is_stable_and_a_missing_process_has_none() {
        let own = std::process::id().cast_signed();
        assert_eq!(start_time(own), start_time(own));
        assert!(start_time(own).is_some());
        assert_eq!(start_time(i32::MAX), None);
    }
}
