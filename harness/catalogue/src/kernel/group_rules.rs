//! Rules of control groups that bugs have broken: who may move whom, threads, and groups frozen below frozen ones.

use std::fs;
use std::io::Write;
use std::time::Duration;

use nix::unistd::{Uid, seteuid};

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::need::Need;
use kit::probes::Probe;
use kit::verbs::cpu;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "cgroup.fd-of-lesser",
        "v2: a cgroup.procs that an ordinary user opened moves nobody of root's, whoever writes to it (since Linux 5.16)",
        "CVE-2021-4197; cgroup-v2.rst, Delegation Containment",
        fd_of_lesser,
    )
    .needs(&[Need::Unified])
    .faults(&[in_fixture(OPENED_BY_ROOT)]),
    Check::of_kernel(
        "cgroup.threaded",
        "v2: threads of one process can be in different threaded groups, and whole processes are refused there",
        "cgroup-v2.rst, Threads",
        threaded,
    )
    .needs(&[Need::Unified])
    .faults(&[in_fixture(DOMAIN)]),
    Check::of_kernel(
        "freezer.nested",
        "thawing a group leaves one below it frozen that was frozen by itself, and both go on when both are thawed",
        "freezer-subsystem.rst; cgroup-v2.rst, cgroup.freeze; runc#2105",
        nested,
    )
    .needs(&[Need::Freezer])
    .faults(&[in_fixture(BOTH_THAWED)]),
];

const OPENED_BY_ROOT: &str = "opened by root";
const DOMAIN: &str = "not threaded";
const BOTH_THAWED: &str = "both thawed";

fn fd_of_lesser(kernel: &mut KernelFixture) -> Checked {
    const USER: u32 = 1_000;
    let cell = kernel.cell("group")?;
    let (from, to) = (cell.child("from")?, cell.child("to")?);
    let probe = from.probe()?;
    let file = to.v2()?.join("cgroup.procs");
    std::os::unix::fs::chown(&file, Some(USER), Some(USER))?;
    let by_root = kernel.has(OPENED_BY_ROOT);
    let seen = kernel.in_child(|| {
        if !by_root {
            seteuid(Uid::from_raw(USER))?;
        }
        let opened = fs::File::options().write(true).open(&file);
        seteuid(Uid::from_raw(0))?;
        let mut opened = opened?;
        let written = opened.write_all(probe.pid.to_string().as_bytes());
        Ok(written.err().and_then(|error| error.raw_os_error()).unwrap_or(0).to_string())
    })?;
    kernel.seen.expect_text(
        "error of root's writing to what the user opened",
        &seen,
        &libc::EACCES.to_string(),
    );
    let account = fs::read_to_string(format!("/proc/{}/cgroup", probe.pid))?;
    let stays = account.lines().any(|line| line.starts_with("0::") && line.ends_with("/from"));
    kernel.seen.expect_eq("the process is in the group where it was", &stays, &true);
    drop(probe);
    Ok(())
}

fn threaded(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    // By hand: what hands down controllers of whole processes cannot have threaded groups below it.
    let child = cell.v2()?.join("threads");
    fs::create_dir(&child)?;
    if !kernel.has(DOMAIN) {
        fs::write(child.join("cgroup.type"), "threaded")?;
    }
    let mut probe = cell.probe()?;
    probe.ask(cpu::spin_anywhere(1))?;
    let tasks: Vec<String> = fs::read_dir(format!("/proc/{}/task", probe.pid))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let own = probe.pid.to_string();
    let thread = tasks.iter().find(|task| **task != own);
    let thread = thread.ok_or_else(|| Trouble::Harness("the probe has one thread".into()))?;
    let errno = |done: std::io::Result<()>| done.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
    let moved = errno(fs::write(child.join("cgroup.threads"), thread));
    kernel.seen.expect_eq("error of moving a thread", &moved, &0);
    let place = |task: &str| -> Result<bool, Trouble> {
        let text = fs::read_to_string(format!("/proc/{own}/task/{task}/cgroup"))?;
        Ok(text.lines().any(|line| line.starts_with("0::") && line.ends_with("/threads")))
    };
    kernel.seen.expect_eq(
        "the moved thread is there, and the first one",
        &(place(thread)?, place(&own)?),
        &(true, false),
    );
    // Its members are told only by threads: a list of processes would be that of the whole domain.
    let listed = fs::read_to_string(child.join("cgroup.procs")).err().and_then(|error| error.raw_os_error());
    kernel.seen.expect_eq(
        "error of reading cgroup.procs of a threaded group",
        &listed.unwrap_or(0),
        &libc::EOPNOTSUPP,
    );
    probe.end()?;
    Ok(fs::remove_dir(&child)?)
}

/// CPU time that a process has had, in nanoseconds. Source: Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat.
fn ran(pid: i32) -> Result<u64, Trouble> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat"))?;
        let time: Option<u64> = text.split(' ').next().and_then(|word| word.parse().ok());
        total += time.ok_or_else(|| Trouble::Harness(format!("schedstat: '{}'", text.trim())))?;
    }
    Ok(total)
}

/// How often it is looked whether a process runs, 20 ms apart.
const PATIENCE: u32 = 5;

/// Whether a busy process makes progress. A frozen one gets no time at all, once it has stopped.
fn runs(probe: &Probe) -> Result<bool, Trouble> {
    // A task counts as frozen when it is about to stop, at most a tick before it does.
    std::thread::sleep(kit::measure::tick());
    let before = ran(probe.pid)?;
    // On a busy host one that may run waits for its turn: as long as it gets none, it is asked again.
    for _ in 0..PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        if ran(probe.pid)? > before {
            return Ok(true);
        }
    }
    Ok(false)
}

fn nested(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let (beside, child) = (cell.child("beside")?, cell.child("inner")?);
    let (mut outer, mut inner) = (beside.probe()?, child.probe()?);
    for probe in [&mut outer, &mut inner] {
        probe.ask(cpu::spin_anywhere(1))?;
    }
    let both = |outer: &Probe, inner: &Probe| Ok::<_, Trouble>((runs(outer)?, runs(inner)?));
    kernel.seen.expect_eq("at first one beside and the inner one run", &both(&outer, &inner)?, &(true, true));
    child.group().set_frozen(true)?;
    kernel.seen.expect_eq("with the inner group frozen", &both(&outer, &inner)?, &(true, false));
    cell.group().set_frozen(true)?;
    kernel.seen.expect_eq("with both frozen", &both(&outer, &inner)?, &(false, false));
    cell.group().set_frozen(false)?;
    if kernel.has(BOTH_THAWED) {
        child.group().set_frozen(false)?;
    }
    kernel.seen.expect_eq("with the outer group thawed", &both(&outer, &inner)?, &(true, false));
    child.group().set_frozen(false)?;
    kernel.seen.expect_eq("with both thawed", &both(&outer, &inner)?, &(true, true));
    drop((outer, inner));
    Ok(())
}
