//! PID namespaces, as the kernel makes them.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use runtime::namespace::Kind;
use runtime::process::pidfd;

use kit::check::{Check, Checked, Trouble};
use kit::fault::{Fault, in_fixture};
use kit::kernel::KernelFixture;
use kit::need::Need;
use kit::probes::Probe;
use kit::verbs::tasks;

const SOURCE: &str = "pid_namespaces(7), The namespace init process";
const NEEDS: &[Need] = &[Need::Namespace(Kind::Pid)];
const NONE: &str = "no PID namespace";
const FAULTS: &[Fault] = &[in_fixture(NONE)];
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "ns.pid.init-death-kills-rest",
        "when PID 1 dies every other process of the namespace dies",
        SOURCE,
        init_death_kills_rest,
    )
    .needs(NEEDS)
    .faults(FAULTS),
    Check::of_kernel(
        "ns.pid.init-ignores-unhandled",
        "signals from inside to a PID 1 without a handler are accepted and ignored, SIGKILL and SIGSTOP always, and SIGKILL from the parent namespace works",
        SOURCE,
        init_ignores_unhandled,
    )
    .needs(NEEDS)
    .faults(FAULTS),
    Check::of_kernel("ns.pid.orphans-reparent", "orphans are reparented to the namespace's PID 1", SOURCE, orphans_reparent)
        .needs(NEEDS)
        .faults(FAULTS),
];

/// The first process of a new PID namespace, unless a fault leaves it in this one.
fn first_process(kernel: &KernelFixture) -> Result<Probe, Trouble> {
    if !kernel.has(NONE) {
        unshare(CloneFlags::CLONE_NEWPID)?;
    }
    Probe::start_after(|| Ok(()))
}

fn init_death_kills_rest(kernel: &mut KernelFixture) -> Checked {
    let mut first = first_process(kernel)?;
    for _ in 0..3 {
        first.ask(tasks::leave_child())?;
    }
    let mut rest = Vec::new();
    for pid in children_of(first.pid)? {
        rest.push((pid, pidfd::open(pid)?));
    }
    kernel.seen.expect_eq("other processes of the namespace", &rest.len(), &3);
    first.kill()?;
    let mut alive = Vec::new();
    for (pid, process) in &rest {
        if !gone(process)? {
            alive.push(*pid);
            let _ = pidfd::signal(process.as_fd(), nix::sys::signal::Signal::SIGKILL);
        }
    }
    kernel.seen.expect("processes that outlived PID 1", format!("{alive:?}"), "[]", alive.is_empty());
    Ok(())
}

fn gone(process: &OwnedFd) -> Result<bool, Trouble> {
    // With a namespace the kernel has killed them before PID 1 could be waited for.
    Ok(pidfd::wait_exit(process.as_fd(), Duration::from_millis(200))?)
}

fn children_of(pid: i32) -> Result<Vec<i32>, Trouble> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

fn init_ignores_unhandled(kernel: &mut KernelFixture) -> Checked {
    let mut first = first_process(kernel)?;
    for (signal, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGKILL, "SIGKILL"), (libc::SIGSTOP, "SIGSTOP")]
    {
        // Whether kill(2) accepted it; nothing if the receiver is gone.
        let sent = match first.ask(tasks::signal_from_child(signal)) {
            Ok(sent) => Some(sent),
            Err(_) => {
                let ended =
                    first.ended_by()?.map_or_else(|| "no answer".into(), |signal| format!("signal {signal}"));
                kernel.seen.note(format!("PID 1 after {name}: {ended}"));
                None
            }
        };
        kernel.seen.expect_eq(&format!("a child sent PID 1 {name}, and PID 1 answers"), &sent, &Some(true));
        if sent.is_none() {
            return Ok(());
        }
    }
    let process = pidfd::open(first.pid)?;
    pidfd::signal(process.as_fd(), nix::sys::signal::Signal::SIGKILL)?;
    let dead = pidfd::wait_exit(process.as_fd(), PATIENCE)?;
    kernel.seen.expect_eq("it ends by SIGKILL from the parent namespace", &dead, &true);
    let signal = first.end()?.signal();
    kernel.seen.expect_eq("signal that ended it", &signal, &Some(libc::SIGKILL));
    Ok(())
}

fn orphans_reparent(kernel: &mut KernelFixture) -> Checked {
    let mut first = first_process(kernel)?;
    let seen = first.ask(tasks::orphan())?;
    kernel.seen.expect_eq("parent of an orphan", &seen.parent, &seen.own);
    if !kernel.has(NONE) {
        kernel.seen.expect_eq("its PID in the namespace", &seen.own, &1);
    }
    Ok(())
}
