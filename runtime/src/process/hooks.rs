//! Programs that run at points of the lifecycle. Source: config.md, "POSIX-platform Hooks".

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use super::interrupt::Interrupt;
use super::pidfd;
use crate::deadline::Deadline;
use crate::error::{Doing, Error, Result};
use crate::oci::Hook;
use crate::rootfs::null;

/// How much of a hook's complaint is kept, in bytes. What it writes beyond that is read and dropped.
const LONGEST_COMPLAINT: usize = 4096;

/// What hooks of the container's namespaces have around them.
#[derive(Debug)]
pub struct Inside<'a> {
    /// The PATH of those that name no environment. It is all that they get: the runtime's environment is no business of a container.
    pub path: &'a str,
    /// Where their output goes. What the container has at /dev/null may be anything.
    pub null: &'a File,
}

/// Runs hooks of the runtime's namespaces one after the other, each with the container's state on its standard input. One that
/// names no environment gets the runtime's.
///
/// # Errors
/// One could not be run, failed, or took longer than its timeout, or the caller blocked a signal that came meanwhile. Those after
/// it do not run.
pub fn run(point: &str, hooks: &[Hook], state: &str) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(number, hook)| at(point, number, hook, state, None))
}

/// Runs hooks of the container's namespaces. They end with the caller.
///
/// # Errors
/// Same errors as [`run`].
pub fn run_inside(point: &str, hooks: &[Hook], state: &str, inside: &Inside<'_>) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(number, hook)| at(point, number, hook, state, Some(inside)))
}

/// Runs all hooks even if some fail; returns what went wrong with each of those.
pub fn run_all(point: &str, hooks: &[Hook], state: &str) -> Vec<Error> {
    let outcomes = hooks.iter().enumerate().map(|(number, hook)| at(point, number, hook, state, None));
    outcomes.filter_map(Result::err).collect()
}

fn at(point: &str, number: usize, hook: &Hook, state: &str, inside: Option<&Inside<'_>>) -> Result<()> {
    one(hook, state, inside).map_err(|error| {
        Error::new(format!("config.json: hooks.{point}[{number}] ({}): {error}", hook.path.display()))
    })
}

fn one(hook: &Hook, state: &str, inside: Option<&Inside<'_>>) -> Result<()> {
    let mut command = Command::new(&hook.path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    match inside {
        None if hook.env.is_empty() => {}
        Some(inside) if hook.env.is_empty() => drop(command.env_clear().env("PATH", inside.path)),
        _ => drop(command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')))),
    }
    let output = match inside {
        Some(inside) => inside.null.try_clone().doing(|| "duplicating a descriptor")?,
        None => null::open_device()?,
    };
    let ends_with_us = inside.is_some();
    let prepare = move || {
        // The runtime blocks signals to read them one by one: a hook must not inherit that.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        if ends_with_us {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        }
        Ok(())
    };
    // SAFETY: both are single system calls, and neither allocates.
    unsafe { command.pre_exec(prepare) };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| "starting it")?;
    let followed = follow(&mut child, state, hook.timeout);
    if followed.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().doing(|| "waiting for it")?;
    let said = followed?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!("{status}, and said: {}", String::from_utf8_lossy(&said).trim())))
}

/// Gives a hook its state and hears what it says until it ends. It need not read, and what it leaves running may keep its streams.
fn follow(child: &mut Child, state: &str, timeout: Option<u64>) -> Result<Vec<u8>> {
    let interrupt = Interrupt::of_blocked()?;
    let process = pidfd::open(child.id().cast_signed())?;
    let mut stdin = child.stdin.take().map(|pipe| nonblocking(pipe.into())).transpose()?;
    let mut stderr = child.stderr.take().map(|pipe| nonblocking(pipe.into())).transpose()?;
    let deadline = Deadline::of(timeout.map(Duration::from_secs));
    let (mut rest, mut said) = (state.as_bytes(), Vec::new());
    loop {
        let mut fds = vec![PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        fds.extend(interrupt.descriptor().map(|own| PollFd::new(own, PollFlags::POLLIN)));
        fds.extend(stderr.as_ref().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN)));
        fds.extend(stdin.as_ref().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLOUT)));
        let is_late = deadline.has_passed();
        match poll(&mut fds, deadline.timeout()) {
            Err(Errno::EINTR) => continue,
            ready => ready.doing(|| "waiting for it")?,
        };
        let ended = fds[0].any().unwrap_or(true);
        if stderr.as_mut().is_some_and(|file| !hear(file, &mut said)) {
            stderr = None;
        }
        if stdin.as_mut().is_some_and(|file| !tell(file, &mut rest)) {
            stdin = None;
        }
        if ended {
            return Ok(said);
        }
        interrupt.check()?;
        if is_late {
            let seconds = timeout.unwrap_or_default();
            return Err(Error::new(format!("it did not end within its timeout of {seconds} s")));
        }
    }
}

fn nonblocking(pipe: OwnedFd) -> Result<File> {
    rustix::io::ioctl_fionbio(&pipe, true).doing(|| "preparing its streams")?;
    Ok(pipe.into())
}

/// Reads what is there, at most a pipe's worth; false once nothing more can come.
fn hear(stderr: &mut File, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 64 * 1024];
    match stderr.read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            let room = LONGEST_COMPLAINT.saturating_sub(said.len());
            said.extend(&buffer[..length.min(room)]);
            true
        }
        Err(error) => is_early(&error),
    }
}

/// Writes what fits; false once all is written, or nobody reads.
fn tell(stdin: &mut File, rest: &mut &[u8]) -> bool {
    match stdin.write(rest) {
        Ok(length) => {
            *rest = &rest[length..];
            !rest.is_empty()
        }
        Err(error) => is_early(&error),
    }
}

fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<u64>) -> Hook {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        Hook { path: "/bin/sh".into(), args, env: vec!["A=1".into()], timeout }
    }

    #[test]
    fn the_state_comes_on_stdin_and_the_environment_is_the_hooks_own() {
        let script = r#"read state; [ "$state" = "{}" ] && [ "$A" = 1 ] && [ -z "$CARGO" ]"#;
        run("poststart", &[shell(script, None)], "{}\n").unwrap();
    }

    #[test]
    fn without_an_environment_it_has_the_runtimes_or_a_path_alone() {
        let hook = |script: &str| Hook { env: Vec::new(), ..shell(script, None) };
        run("prestart", &[hook(r#"[ -n "$CARGO" ] && [ -n "$PATH" ]"#)], "{}").unwrap();
        let inside = Inside { path: "/x", null: &null::open_device().unwrap() };
        let script = r#"[ -z "$CARGO" ] && [ "$PATH" = /x ]"#;
        run_inside("createContainer", &[hook(script)], "{}", &inside).unwrap();
    }

    #[test]
    fn after_a_container_every_hook_runs_whatever_the_others_did() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let hooks = [shell("exit 1", None), shell(&format!(": > {}", mark.display()), None)];
        let failed = run_all("poststop", &hooks, "{}");
        assert!(failed.len() == 1 && failed[0].to_string().contains("poststop[0]"), "{failed:?}");
        assert!(mark.exists());
    }

    #[test]
    fn a_failing_or_endless_hook_is_named() {
        let hooks = [shell("echo no >&2; exit 3", None)];
        let message = run("prestart", &hooks, "{}").unwrap_err().to_string();
        assert!(message.contains("hooks.prestart[0]") && message.contains("no"), "{message}");
        let message = run("prestart", &[shell("exec sleep 60", Some(0))], "{}").unwrap_err().to_string();
        assert!(message.contains("timeout"), "{message}");
        // A timeout that no clock can count is none.
        run("prestart", &[shell("exit 0", Some(u64::MAX))], "{}").unwrap();
    }

    #[test]
    fn what_a_hook_leaves_running_and_what_it_does_not_read_keep_nobody() {
        // The state fits no pipe, and a process left behind keeps the streams.
        let state = "x".repeat(1 << 20);
        run("prestart", &[shell("sleep 60 & exit 0", None)], &state).unwrap();
        // More than a pipe holds.
        run("prestart", &[shell("head -c 300000 /dev/zero >&2", None)], "{}").unwrap();
    }
}
