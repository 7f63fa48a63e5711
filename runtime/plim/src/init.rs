//! The first process of a container with `--init`: it starts the program, passes signals on, and reaps what is left to it.
//! Source: pid_namespaces(7), "The namespace init process".

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, setpgid, tcsetpgrp};

use engine::containers::INIT as NAME;
use runtime::process::supervise::Signals;

/// Runs a program with its arguments; `--` before them is passed over. Returns its exit status.
pub(super) fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    let mut words = arguments.skip_while(|word| word == "--");
    let Some(program) = words.next() else {
        output::complainln!("{NAME}: there is no program to run");
        return 127;
    };
    let Ok(signals) = Signals::block() else {
        output::complainln!("{NAME}: signals cannot be read");
        return 125;
    };
    let mut command = Command::new(&program);
    command.args(words);
    // SAFETY: setpgid, tcsetpgrp and sigprocmask are async-signal-safe, and no memory is allocated.
    unsafe { command.pre_exec(prepare) };
    let child = match command.spawn() {
        Ok(child) => Pid::from_raw(child.id().cast_signed()),
        Err(error) => {
            output::complainln!("{NAME}: {}: {error}", program.to_string_lossy());
            return if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        }
    };
    loop {
        let mut fds = [PollFd::new(signals.descriptor(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 125,
        }
        for signal in signals.take() {
            if signal.number() == libc::SIGCHLD {
                continue;
            }
            // SAFETY: kill takes no pointer.
            unsafe { libc::kill(child.as_raw(), signal.number()) };
        }
        if let Some(status) = reap(child) {
            return status;
        }
    }
}

/// In the child: a process group of its own, in the foreground of the terminal if there is one, and no signal blocked.
fn prepare() -> io::Result<()> {
    let stdin = io::stdin();
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    if stdin.is_terminal() {
        // SIGTTOU is still blocked, so that a background process may do this.
        let _ = tcsetpgrp(stdin.as_fd(), getpgrp());
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Reaps whatever has ended; the exit status of the program if that has.
fn reap(child: Pid) -> Option<u8> {
    let mut status = None;
    loop {
        let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
            Err(Errno::EINTR) | Ok(WaitStatus::Stopped(..) | WaitStatus::Continued(_)) => continue,
            _ => return status,
        };
        if pid == child {
            status = Some(u8::try_from(code).unwrap_or(u8::MAX));
        }
    }
}
