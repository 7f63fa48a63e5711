//! Verbs that use memory and make processes.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pause};
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
