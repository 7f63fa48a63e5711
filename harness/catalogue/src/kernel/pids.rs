//! The pids controller, huge pages, and frozen processes: what a group may have, and what can still be done to it.

use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::Signal;
use runtime::process::pidfd;

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::tasks;

use crate::runtime::tasks::{PIDS_FAULTS, TASKS, tasks_of};

const SOURCE: &str = "Documentation/admin-guide/cgroup-v1/pids.rst; cgroup-v2.rst, PID";
const NEEDS: &[Need] = &[Need::Controller("pids")];

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime("pids.max.counts-threads", "threads count as processes do", SOURCE, counts_threads)
        .needs(NEEDS)
        .faults(PIDS_FAULTS),
    Check::of_kernel(
        "pids.max.hierarchical",
        "the parent's limit holds for its children",
        SOURCE,
        hierarchical,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(PARENT_UNLIMITED)]),
    Check::of_kernel("pids.events.count", "a refused fork is counted", SOURCE, events)
        .needs(NEEDS)
        .faults(&[in_fixture(OTHER_GROUP)]),
    Check::of_kernel(
        "freezer.kill-while-frozen",
        "v2: a frozen process can be killed; v1: it dies when it is thawed",
        "cgroup-v2.rst, cgroup.freeze; cgroup-v1/freezer-subsystem.rst",
        kill_while_frozen,
    )
    .needs(&[Need::Freezer])
    .faults(&[in_fixture(NOT_FROZEN)]),
    Check::of_kernel(
        "hugetlb.limit",
        "touching huge pages past the limit gets SIGBUS",
        "Documentation/admin-guide/cgroup-v1/hugetlb.rst; cgroup-v2.rst, HugeTLB",
        huge_pages,
    )
    .needs(&[Need::Controller("hugetlb"), Need::HugePages])
    .faults(&[in_fixture(NOT_WRITTEN)]),
];

const PARENT_UNLIMITED: &str = "parent unlimited";
const OTHER_GROUP: &str = "another group's file";
const NOT_FROZEN: &str = "not frozen";
const NOT_WRITTEN: &str = "limit not written";

fn counts_threads(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().pids(TASKS.cast_signed()).start()?;
    let before = tasks_of(&container)?;
    runtime.seen.expect_eq("tasks of the container at first", &before, &1);
    let made = container.ask(tasks::threads_until_refused(64))?;
    runtime.seen.expect_eq("threads made", &u64::try_from(made.made)?, &TASKS.saturating_sub(before));
    runtime.seen.expect_eq("error of the thread that was refused", &made.errno, &libc::EAGAIN);
    container.close()?;
    Ok(())
}

fn hierarchical(kernel: &mut KernelFixture) -> Checked {
    let parent = kernel.cell("parent")?;
    if !kernel.has(PARENT_UNLIMITED) {
        fs::write(parent.dir("pids")?.join("pids.max"), "8")?;
    }
    let child = parent.child("child")?;
    let mut probe = child.probe()?;
    let forked = probe.ask(tasks::fork_until_refused(32))?;
    kernel.seen.expect_eq("children forked below a parent's limit of 8", &forked.made, &7);
    kernel.seen.expect_eq("error of the fork that was refused", &forked.errno, &libc::EAGAIN);
    drop(probe);
    Ok(())
}

fn events(kernel: &mut KernelFixture) -> Checked {
    let (cell, other) = (kernel.cell("group")?, kernel.cell("other")?);
    let watched = if kernel.has(OTHER_GROUP) { &other } else { &cell };
    fs::write(cell.dir("pids")?.join("pids.max"), "4")?;
    let mut probe = cell.probe()?;
    let count = || watched.keyed("pids", "pids.events", "max");
    let before = count()?;
    probe.ask(tasks::fork_until_refused(16))?;
    kernel.seen.expect_eq("growth of max in pids.events by one refused fork", &(count()? - before), &1);
    drop(probe);
    Ok(())
}

fn kill_while_frozen(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let mut probe = cell.probe()?;
    let process = pidfd::open(probe.pid)?;
    if !kernel.has(NOT_FROZEN) {
        cell.group().set_frozen(true)?;
    }
    kernel.seen.expect_eq("the group is frozen", &cell.group().is_frozen(), &true);
    pidfd::signal(process.as_fd(), Signal::SIGKILL)?;
    let dead = pidfd::wait_exit(process.as_fd(), Duration::from_millis(200))?;
    let v1 = cell.dir("freezer").is_ok() && !cell.is_v2("freezer");
    kernel.seen.expect_eq("it dies while frozen", &dead, &!v1);
    if v1 {
        cell.group().set_frozen(false)?;
        let dead = pidfd::wait_exit(process.as_fd(), Duration::from_secs(5))?;
        kernel.seen.expect_eq("it dies when thawed", &dead, &true);
    }
    let _ = probe.kill();
    Ok(())
}

fn huge_pages(kernel: &mut KernelFixture) -> Checked {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let size = meminfo.lines().find_map(|line| {
        line.strip_prefix("Hugepagesize:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    let size = size.ok_or_else(|| Trouble::Skip("this kernel has no huge pages".into()))? * 1024;
    let name = if size >= 1 << 30 { format!("{}GB", size >> 30) } else { format!("{}MB", size >> 20) };
    let cell = kernel.cell("group")?;
    if !kernel.has(NOT_WRITTEN) {
        let limit = (2 * size).to_string();
        let (v1, v2) = (format!("hugetlb.{name}.limit_in_bytes"), format!("hugetlb.{name}.max"));
        cell.set("hugetlb", (&v1, &limit), (&v2, &limit))?;
    }
    let mut probe = cell.probe()?;
    for (pages, signal) in [(2, 0), (3, libc::SIGBUS)] {
        let ended = probe.ask(tasks::touch_huge(pages, size))?;
        kernel.seen.expect_eq(&format!("signal that ended a touch of {pages} pages"), &ended.signal, &signal);
    }
    drop(probe);
    Ok(())
}
