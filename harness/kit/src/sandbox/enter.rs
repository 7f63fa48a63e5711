//! Entering a fake host, to run a subject there; and entering a container badly, as a fault.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::IntoRawFd;

use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, execv, fork};
use runtime::cgroup::{Group, Layout};
use runtime::namespace::{Kind, id};
use runtime::process::pidfd;

use crate::trouble::{Doing, Trouble};

fn text(word: &str) -> Result<CString, Trouble> {
    CString::new(word).doing("argument")
}

/// Executes a program on the fake host of a process, under the name `called`.
pub(super) fn host(pid: &str, called: &str, program: &str, arguments: &[&str]) -> Result<(), Trouble> {
    join_host(pid)?;
    let words: Vec<CString> =
        std::iter::once(&called).chain(arguments).map(|word| text(word)).collect::<Result<_, _>>()?;
    execv(&text(program)?, &words).doing(program).map(|_| ())
}

/// Joins the fake host of a process.
pub(super) fn join_host(pid: &str) -> Result<(), Trouble> {
    let target = pidfd::open(pid.parse().doing("pid")?).doing("fake host")?;
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET;
    setns(target, flags).doing("joining the fake host")
}

/// Executes a program with `path` open as descriptor 3 for it to inherit.
pub(super) fn leak(path: &str, called: &str, program: &str, arguments: &[&str]) -> Result<(), Trouble> {
    let opened = File::open(path).doing(path)?.into_raw_fd();
    let number = if opened == 3 {
        // SAFETY: the descriptor is open; from now on it does not close on exec.
        unsafe { libc::fcntl(opened, libc::F_SETFD, 0) }
    } else {
        // SAFETY: descriptor 3 is nobody's in a program that was just started; a duplicate does not close on exec.
        unsafe { libc::dup2(opened, 3) }
    };
    nix::errno::Errno::result(number).doing("descriptor 3")?;
    let words: Vec<CString> =
        std::iter::once(&called).chain(arguments).map(|word| text(word)).collect::<Result<_, _>>()?;
    execv(&text(program)?, &words).doing(program).map(|_| ())
}

/// Runs a probe in a container, but skips one namespace or leaves out the cgroups: what a broken `exec` would do.
pub(super) fn container(
    pid: &str,
    skip: &str,
    join_cgroups: bool,
    pid_file: &str,
    program: &[&str],
) -> Result<(), Trouble> {
    let pid: i32 = pid.parse().doing("pid")?;
    let own = std::process::id().cast_signed();
    if join_cgroups {
        let group = Group::of_process(&Layout::detect().doing("cgroups")?, pid).doing("cgroups")?;
        group.attach(own).doing("cgroups")?;
    }
    let target = pidfd::open(pid).doing("container")?;
    let numbers = File::create(pid_file).doing("pid file")?;
    let mut flags = CloneFlags::empty();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_supported() && kind.file() != skip) {
        if id(pid, kind).doing("namespace")? != id(own, kind).doing("namespace")? {
            flags |= kind.flag();
        }
    }
    setns(target, flags).doing("joining the container")?;
    // SAFETY: this program has one thread.
    match unsafe { fork() }.doing("fork")? {
        ForkResult::Child => {
            let words: Vec<CString> = program.iter().map(|word| text(word)).collect::<Result<_, _>>()?;
            execv(&words[0], &words).doing(program[0]).map(|_| ())
        }
        ForkResult::Parent { child } => {
            std::io::Write::write_all(&mut &numbers, child.to_string().as_bytes()).doing("pid file")?;
            loop {
                match waitpid(child, None).doing("waitpid")? {
                    WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}
