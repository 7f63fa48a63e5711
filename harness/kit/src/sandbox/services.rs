//! Daemons of an engine on a fake host, in a PID namespace of their own: whatever they start ends with them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use runtime::process::pidfd;
use subject::Service;

use super::enter::join_host;
use crate::role::READY;
use crate::trouble::{Doing, Trouble};

/// How long a daemon may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs daemons on the fake host of a process until standard input ends. `kept` is a directory that they see although /run is their
/// own.
pub(super) fn services(pid: &str, kept: &str, services: &str) -> Result<(), Trouble> {
    let services: Vec<Service> = serde_json::from_str(services).doing("the services")?;
    // Nothing outlives the harness, and nothing the one that waits here.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).doing("prctl")?;
    join_host(pid)?;
    own_run(Path::new(kept)).doing("making a /run of its own")?;
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS).doing("unshare")?;
    // SAFETY: this program has one thread.
    match unsafe { fork() }.doing("fork")? {
        ForkResult::Parent { child } => loop {
            match waitpid(child, None).doing("waitpid")? {
                WaitStatus::Exited(_, 0) => return Ok(()),
                WaitStatus::Exited(..) => std::process::exit(1),
                WaitStatus::Signaled(_, signal, _) => {
                    return Err(Trouble::Harness(format!("the daemons were ended by {signal}")));
                }
                _ => {}
            }
        },
        ForkResult::Child => first_process(&services),
    }
}

/// A /run without anything of the host's but one directory: daemons put sockets of theirs there by fixed names.
fn own_run(kept: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{CWD, Mode, mkdirat};
    use rustix::mount::{
        MountFlags, MoveMountFlags, OpenTreeFlags, mount as mount_at, move_mount, open_tree,
    };
    let run = Path::new("/run");
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = kept.starts_with(run).then(|| open_tree(CWD, kept, flags)).transpose()?;
    mount_at("plimsoll", run, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))?;
    let Some(tree) = tree else { return Ok(()) };
    let below = kept.strip_prefix(run).unwrap_or(kept);
    let mut at = run.to_owned();
    for part in below.components() {
        at.push(part);
        mkdirat(CWD, &at, Mode::from_raw_mode(0o755))?;
    }
    move_mount(tree, "", CWD, kept, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Starts them, waits, and reaps.
fn first_process(services: &[Service]) -> Result<(), Trouble> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).doing("prctl")?;
    // The host's own /proc stays as it is: on a mount that is not shared nothing spreads.
    mount(None::<&str>, "/proc", None::<&str>, MsFlags::MS_PRIVATE, None::<&str>).doing("/proc")?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), quiet, None::<&str>).doing("mounting /proc")?;
    for (number, service) in services.iter().enumerate() {
        start(service, number)?;
    }
    output::outln!("{READY}");
    std::io::stdout().flush().doing("standard output")?;
    reap_until_end()
}

/// Starts one, and waits until it says that it is ready. Source: sd_notify(3).
fn start(service: &Service, number: usize) -> Result<(), Trouble> {
    let name = format!("plimsoll-{number}");
    let address = SocketAddr::from_abstract_name(&name).doing("the address for sd_notify")?;
    let told = UnixDatagram::bind_addr(&address).doing("the socket for sd_notify")?;
    told.set_nonblocking(true).doing("the socket for sd_notify")?;
    let what = service.program.display();
    let log = File::create(&service.log).doing(service.log.display())?;
    let mut child = Command::new(&service.program)
        .args(&service.arguments)
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().doing("the log")?)
        .stderr(log)
        .spawn()
        .doing(&what)?;
    let process = pidfd::open(child.id().cast_signed()).doing(&what)?;
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut text = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let ready = wait_for(&[told.as_fd(), process.as_fd()], left)?;
        if ready[0] {
            let length = told.recv(&mut text).doing("sd_notify")?;
            if String::from_utf8_lossy(&text[..length]).lines().any(|line| line == "READY=1") {
                return Ok(());
            }
        } else if ready[1] {
            let status = child.wait().doing(&what)?;
            return Err(Trouble::Harness(format!("{what} ended, {status}: {}", last_lines(&service.log))));
        } else {
            let said = last_lines(&service.log);
            return Err(Trouble::Harness(format!("{what} was not ready within {PATIENCE:?}: {said}")));
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// Which descriptors have something; none after so long.
fn wait_for(descriptors: &[BorrowedFd<'_>], patience: Duration) -> Result<Vec<bool>, Trouble> {
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|descriptor| PollFd::new(*descriptor, PollFlags::POLLIN)).collect();
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut polled, timeout) {
            Err(nix::errno::Errno::EINTR) => {}
            other => break other.doing("poll").map(drop)?,
        };
    }
    Ok(polled.iter().map(|one| one.any().unwrap_or(false)).collect())
}

/// Waits for children that nobody else waits for, until standard input ends; the kernel ends all others with this process.
fn reap_until_end() -> Result<(), Trouble> {
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block().doing("signals")?;
    let signals =
        SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing("signalfd")?;
    // SAFETY: standard input is open and nobody else in this program reads from it.
    let mut input = File::from(unsafe { OwnedFd::from_raw_fd(0) });
    loop {
        // One that ended before the signal was asked for is seen here, too.
        while !matches!(
            waitpid(None, Some(WaitPidFlag::WNOHANG)),
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD)
        ) {}
        while signals.read_signal().doing("signalfd")?.is_some() {}
        let ready = loop {
            let ready = wait_for(&[input.as_fd(), signals.as_fd()], Duration::from_secs(3600))?;
            if ready.contains(&true) {
                break ready;
            }
        };
        if ready[0] && input.read(&mut [0; 64]).doing("standard input")? == 0 {
            return Ok(());
        }
    }
}
