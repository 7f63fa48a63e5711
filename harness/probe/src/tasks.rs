//! Verbs that use memory and make processes.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pause};
use runtime::namespace::Kind;
use runtime::process::clone::{Side, clone3};
use runtime::process::pidfd;
use serde_json::json;

use super::{Answer, told};

/// The smallest page of any supported machine: touching more often than needed does no harm.
const PAGE: usize = 4096;

/// Allocates memory, writes to every page of it, and keeps it.
pub(super) fn hold(bytes: &str) -> Answer {
    let memory = written(bytes)?;
    let length = memory.len();
    std::mem::forget(memory);
    Ok(json!(length))
}

/// Allocates memory, writes to every page of it, and lets it go.
pub(super) fn touch(bytes: &str) -> Answer {
    written(bytes).map(|memory| json!(memory.len()))
}

fn written(bytes: &str) -> Result<Vec<u8>, String> {
    let bytes: usize = told("bytes", bytes.parse())?;
    let mut memory: Vec<u8> = Vec::new();
    told("reserving", memory.try_reserve_exact(bytes))?;
    memory.resize(bytes, 0);
    for page in memory.iter_mut().step_by(PAGE) {
        *page = 1;
    }
    Ok(std::hint::black_box(memory))
}

/// The same in a child, whose end is the answer: the signal that killed it, or 0.
pub(super) fn touch_in_child(bytes: &str) -> Answer {
    // SAFETY: this program has started no thread when the verb is used.
    match told("fork", unsafe { fork() })? {
        ForkResult::Child => {
            let status = i32::from(written(bytes).is_err());
            // SAFETY: ends the child alone.
            unsafe { libc::_exit(status) }
        }
        ForkResult::Parent { child } => match told("waitpid", waitpid(child, None))? {
            WaitStatus::Signaled(_, signal, _) => Ok(json!({ "signal": signal as i32 })),
            WaitStatus::Exited(_, status) => Ok(json!({ "signal": 0, "status": status })),
            other => Err(format!("the child ended strangely: {other:?}")),
        },
    }
}

/// Makes a child in new namespaces so many times, each of which ends at once, and returns how long all took, in nanoseconds.
pub(super) fn make_namespaces(kinds: &str, times: &str) -> Answer {
    let times: u32 = told("times", times.parse())?;
    let mut flags = nix::sched::CloneFlags::empty();
    for kind in kinds.split(',').filter(|kind| !kind.is_empty()) {
        let known = Kind::ALL.into_iter().find(|known| known.file() == kind);
        flags |= known.ok_or_else(|| format!("there is no namespace '{kind}'"))?.flag();
    }
    let start = std::time::Instant::now();
    for _ in 0..times {
        // SAFETY: the child ends at once.
        match told("clone3", unsafe { clone3(flags, None) })? {
            Side::Child => {
                // SAFETY: ends the child alone.
                unsafe { libc::_exit(0) }
            }
            Side::Parent(child) => told("waiting", pidfd::reap(&child.pidfd)).map(drop)?,
        }
    }
    Ok(json!(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)))
}

/// Forks until it is refused, or `most` children exist; then ends them all.
pub(super) fn fork_until_refused(most: &str) -> Answer {
    let most: usize = told("count", most.parse())?;
    let mut children = Vec::new();
    let mut refused = 0;
    while children.len() < most {
        match fork_sleeper() {
            Ok(child) => children.push(child),
            Err(error) => {
                refused = error as i32;
                break;
            }
        }
    }
    for child in &children {
        let _ = nix::sys::signal::kill(*child, nix::sys::signal::Signal::SIGKILL);
        let _ = waitpid(*child, None);
    }
    Ok(json!({ "made": children.len(), "errno": refused }))
}

/// Makes children that live as long as this process's PID namespace.
pub(super) fn spawn(count: &str) -> Answer {
    let count: usize = told("count", count.parse())?;
    let mut children = Vec::new();
    for _ in 0..count {
        children.push(told("fork", fork_sleeper())?.as_raw());
    }
    Ok(json!(children))
}

fn fork_sleeper() -> nix::Result<Pid> {
    // SAFETY: this program has started no thread when the verbs are used.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // Without a PID namespace nobody else would end it.
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            loop {
                pause();
            }
        }
    }
}

/// Makes threads until it is refused, or `most` exist; they stay.
pub(super) fn threads_until_refused(most: &str) -> Answer {
    let most: usize = told("count", most.parse())?;
    for made in 0..most {
        let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn(|| {
            loop {
                std::thread::park();
            }
        });
        if let Err(error) = thread {
            return Ok(json!({ "made": made, "errno": error.raw_os_error() }));
        }
    }
    Ok(json!({ "made": most, "errno": 0 }))
}

/// A child makes a grandchild and ends: who is the grandchild's parent then?
pub(super) fn orphan() -> Answer {
    let (mut reader, mut writer) = told("pipe", std::io::pipe())?;
    let own = std::process::id();
    // SAFETY: this program has started no thread when the verb is used.
    match told("fork", unsafe { fork() })? {
        ForkResult::Child => {
            let parent = std::process::id();
            // SAFETY: as above.
            if let Ok(ForkResult::Child) = unsafe { fork() } {
                // Nothing announces a change of parent; the old one is about to end.
                while std::os::unix::process::parent_id() == parent {
                    std::thread::yield_now();
                }
                let _ = std::io::Write::write_all(
                    &mut writer,
                    &std::os::unix::process::parent_id().to_le_bytes(),
                );
            }
            // SAFETY: ends the child alone.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            told("waitpid", waitpid(child, None))?;
            let mut parent = [0; 4];
            told("the orphan", std::io::Read::read_exact(&mut reader, &mut parent))?;
            Ok(json!({ "own": own, "parent": u32::from_le_bytes(parent) }))
        }
    }
}

/// A child sends this process a signal; the answer comes only if it survives.
pub(super) fn signal_from_child(signal: &str) -> Answer {
    let signal: i32 = told("signal", signal.parse())?;
    let own = Pid::this();
    // SAFETY: this program has started no thread when the verb is used.
    match told("fork", unsafe { fork() })? {
        ForkResult::Child => {
            let sent = nix::sys::signal::kill(own, nix::sys::signal::Signal::try_from(signal).ok());
            // SAFETY: ends the child alone.
            unsafe { libc::_exit(i32::from(sent.is_err())) }
        }
        ForkResult::Parent { child } => {
            let ended = told("waitpid", waitpid(child, None))?;
            Ok(json!(matches!(ended, WaitStatus::Exited(_, 0))))
        }
    }
}

/// Ends this process by a signal.
pub(super) fn die(signal: &str) -> Answer {
    let signal: i32 = told("signal", signal.parse())?;
    // PID 1 of a namespace cannot kill itself by a signal that it does not handle; only a fault can.
    // SAFETY: takes numbers.
    unsafe { libc::raise(signal) };
    Err(format!("signal {signal} was survived"))
}

/// Makes children that fork and bury children of their own for ever.
pub(super) fn breed(count: &str) -> Answer {
    let count: usize = told("count", count.parse())?;
    for _ in 0..count {
        // SAFETY: this program has started no thread when the verb is used.
        if let ForkResult::Child = told("fork", unsafe { fork() })? {
            loop {
                // SAFETY: as above.
                match unsafe { fork() } {
                    // SAFETY: ends the child alone.
                    Ok(ForkResult::Child) => unsafe { libc::_exit(0) },
                    Ok(ForkResult::Parent { child }) => drop(waitpid(child, None)),
                    Err(_) => std::thread::yield_now(),
                }
            }
        }
    }
    Ok(json!(count))
}

/// Maps huge pages and touches so many of them in a child: the signal that ended it, or 0.
pub(super) fn touch_huge(pages: &str, size: &str) -> Answer {
    let (pages, size): (usize, usize) = (told("pages", pages.parse())?, told("bytes", size.parse())?);
    // SAFETY: this program has started no thread when the verb is used.
    match told("fork", unsafe { fork() })? {
        ForkResult::Child => {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_NORESERVE;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping anywhere.
            let memory = unsafe { libc::mmap(std::ptr::null_mut(), pages * size, access, flags, -1, 0) };
            if memory == libc::MAP_FAILED {
                // SAFETY: ends the child alone.
                unsafe { libc::_exit(1) }
            }
            for page in 0..pages {
                // SAFETY: within the mapping.
                let place = unsafe { memory.cast::<u8>().add(page * size) };
                // SAFETY: a page of the mapping, which may be refused by a signal.
                unsafe { place.write_volatile(1) };
            }
            // SAFETY: ends the child alone.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => match told("waitpid", waitpid(child, None))? {
            WaitStatus::Signaled(_, signal, _) => Ok(json!({ "signal": signal as i32, "status": 0 })),
            WaitStatus::Exited(_, status) => Ok(json!({ "signal": 0, "status": status })),
            other => Err(format!("the child ended strangely: {other:?}")),
        },
    }
}

/// Makes a child that nothing ties to this process: only its namespace's end ends it, or whoever counts it.
pub(super) fn leave_child() -> Answer {
    // SAFETY: this program has started no thread when the verb is used.
    match told("fork", unsafe { fork() })? {
        ForkResult::Parent { child } => Ok(json!(child.as_raw())),
        ForkResult::Child => loop {
            pause();
        },
    }
}

/// Says so many numbered lines on each of its two outputs, by turns.
pub(super) fn chatter(lines: &str) -> Answer {
    let lines: u32 = told("lines", lines.parse())?;
    for line in 0..lines {
        output::outln!("out {line}");
        output::errln!("err {line}");
    }
    std::process::exit(0)
}
