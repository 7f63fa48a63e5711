//! The number of tasks, and stopping them.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use runtime::oci::{Pids, Spec};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind};
use kit::need::Need;
use kit::runtime::Container;
use kit::runtime::RuntimeFixture;
use kit::verbs::{files, tasks};
use probe::NAME as PROBE;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "pids.max.fork-fails",
        "a fork past the limit fails with EAGAIN, and the host still forks",
        "Documentation/admin-guide/cgroup-v1/pids.rst; cgroup-v2.rst, PID",
        fork_fails,
    )
    .needs(&[Need::Controller("pids")])
    .faults(PIDS_FAULTS),
    Check::of_runtime(
        "freezer.stops-and-thaws",
        "a paused container makes no progress, and a resumed one does",
        "Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst; cgroup-v2.rst, cgroup.freeze",
        stops_and_thaws,
    )
    .needs(&[Need::Freezer])
    .faults(&[Fault { name: "freeze dropped", kind: FaultKind::PauseDropped }]),
];

/// A limit that is lost, and limits that are a little beside the one asked for.
pub(crate) const PIDS_FAULTS: &[Fault] = &[
    fault::PIDS_LIMIT_NOT_WRITTEN,
    fault::config("a limit of 4", |spec| limit_tasks(spec, 4)),
    fault::config("a limit of 17", |spec| limit_tasks(spec, 17)),
];
/// The limit that the checks of tasks ask for.
pub(crate) const TASKS: u64 = 16;

fn limit_tasks(spec: &mut Spec, limit: i64) {
    fault::resources(spec).pids = Some(Pids { limit });
}

/// Tasks of a container that are there before it makes more, as the kernel counts them.
pub(crate) fn tasks_of(container: &Container) -> Result<u64, Trouble> {
    let current = container.group()?.stats().pids_current;
    current.ok_or_else(|| Trouble::Harness("the container's group has no pids.current".into()))
}

fn fork_fails(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().pids(TASKS.cast_signed()).start()?;
    let before = tasks_of(&container)?;
    runtime.seen.expect_eq("tasks of the container at first", &before, &1);
    let forked = container.ask(tasks::fork_until_refused(64))?;
    runtime.seen.expect_eq("children forked", &u64::try_from(forked.made)?, &TASKS.saturating_sub(before));
    runtime.seen.expect_eq("error of the fork that was refused", &forked.errno, &libc::EAGAIN);
    let on_host = Command::new(std::env::current_exe()?).arg0(PROBE).arg("true").output()?;
    runtime.seen.expect_eq("the host still forks", &on_host.status.success(), &true);
    container.close()?;
    Ok(())
}

/// How long a process that runs may take to be seen running.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing may move.
const WATCHED: Duration = Duration::from_millis(100);

fn stops_and_thaws(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().start()?;
    container.ask(files::tick("/tmp/count"))?;
    let moves = waits_for_progress(&container)?;
    if !moves {
        return Err(Trouble::Subject("the process makes no progress even before it is paused".into()));
    }
    container.pause()?;
    let before = count(&container)?;
    // A stretch in which nothing must happen has no event that could be awaited.
    std::thread::sleep(WATCHED);
    let after = count(&container)?;
    runtime.seen.expect_eq("steps made in 100 ms while paused", &(after - before), &0);
    container.resume()?;
    let thawed = waits_for_progress(&container)?;
    runtime.seen.expect_eq("it goes on after resume", &thawed, &true);
    container.close()?;
    Ok(())
}

fn waits_for_progress(container: &Container) -> Result<bool, Trouble> {
    let start = Instant::now();
    let before = count(container)?;
    while start.elapsed() < PATIENCE {
        if count(container)? > before {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}

/// How far the process has counted: read from outside, so that it need not run to tell.
fn count(container: &Container) -> Result<u64, Trouble> {
    let bytes = std::fs::read(container.rootfs.join("tmp/count"))?;
    Ok(bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}
