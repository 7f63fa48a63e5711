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

fn told<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

fn text(word: &str) -> Result<CString, String> {
    told("argument", CString::new(word))
}

/// Executes a program on the fake host of a process, under the name `called`.
pub(super) fn host(pid: &str, called: &str, program: &str, arguments: &[&str]) -> Result<(), String> {
    let target = told("fake host", pidfd::open(told("pid", pid.parse())?))?;
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET;
    told("joining the fake host", setns(target, flags))?;
    let words: Vec<CString> =
        std::iter::once(&called).chain(arguments).map(|word| text(word)).collect::<Result<_, _>>()?;
    told(program, execv(&text(program)?, &words)).map(|_| ())
}

/// Executes a program with `path` open as descriptor 3 for it to inherit.
pub(super) fn leak(path: &str, called: &str, program: &str, arguments: &[&str]) -> Result<(), String> {
    let opened = told(path, File::open(path))?.into_raw_fd();
    let number = if opened == 3 {
        // SAFETY: the descriptor is open; from now on it does not close on exec.
        unsafe { libc::fcntl(opened, libc::F_SETFD, 0) }
    } else {
        // SAFETY: descriptor 3 is nobody's in a program that was just started; a duplicate does not close on exec.
        unsafe { libc::dup2(opened, 3) }
    };
    told("descriptor 3", nix::errno::Errno::result(number))?;
    let words: Vec<CString> =
        std::iter::once(&called).chain(arguments).map(|word| text(word)).collect::<Result<_, _>>()?;
    told(program, execv(&text(program)?, &words)).map(|_| ())
}

/// Runs a probe in a container, but skips one namespace or leaves out the cgroups: what a broken `exec` would do.
pub(super) fn container(
    pid: &str,
    skip: &str,
    join_cgroups: bool,
    pid_file: &str,
    program: &[&str],
) -> Result<(), String> {
    let pid: i32 = told("pid", pid.parse())?;
    let own = std::process::id().cast_signed();
    if join_cgroups {
        let group = told("cgroups", Group::of_process(&told("cgroups", Layout::detect())?, pid))?;
        told("cgroups", group.attach(own))?;
    }
    let target = told("container", pidfd::open(pid))?;
    let numbers = told("pid file", File::create(pid_file))?;
    let mut flags = CloneFlags::empty();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_supported() && kind.file() != skip) {
        if told("namespace", id(pid, kind))? != told("namespace", id(own, kind))? {
            flags |= kind.flag();
        }
    }
    told("joining the container", setns(target, flags))?;
    // SAFETY: this program has one thread.
    match told("fork", unsafe { fork() })? {
        ForkResult::Child => {
            let words: Vec<CString> = program.iter().map(|word| text(word)).collect::<Result<_, _>>()?;
            told(program[0], execv(&words[0], &words)).map(|_| ())
        }
        ForkResult::Parent { child } => {
            told("pid file", std::io::Write::write_all(&mut &numbers, child.to_string().as_bytes()))?;
            loop {
                match told("waitpid", waitpid(child, None))? {
                    WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}
