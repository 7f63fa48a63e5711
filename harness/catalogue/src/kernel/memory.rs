//! The memory controller itself: hierarchy, charges, protection, events, reclaim.

use std::fs;
use std::time::{Duration, Instant};

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::{Cell, KernelFixture};
use kit::loopdev::LoopDevice;
use kit::measure::{as_f64, counted};
use kit::need::Need;
use kit::probes::Probe;
use kit::verbs::files::How;
use kit::verbs::{files, tasks};

const V2: &str = "Documentation/admin-guide/cgroup-v2.rst, Memory Interface Files";
const V1: &str = "Documentation/admin-guide/cgroup-v1/memory.rst";
const NEEDS: &[Need] = &[Need::Controller("memory")];
const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel("memory.limit.hierarchical", "children together are held by the parent", V2, hierarchical)
        .needs(NEEDS)
        .faults(&[in_fixture(PARENT_UNLIMITED)]),
    Check::of_kernel(
        "memory.charge.follows-first-toucher",
        "memory is charged to whoever touches it first, in the amount touched, and returns",
        "cgroup-v2.rst, Memory Ownership; cgroup-v1/memory.rst, 2.3 Shared Page Accounting",
        first_toucher,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(OTHER_GROUP)]),
    Check::of_kernel("memory.high.throttles", "v2: past high the group is reclaimed and not killed", V2, high)
        .needs(&[Need::V2("memory"), Need::Loop])
        .faults(&[in_fixture(NOT_WRITTEN)]),
    Check::of_kernel("memory.low.protects", "v2: a protected group keeps its cache under outside pressure", V2, low)
        .needs(&[Need::V2("memory"), Need::Loop])
        .faults(&[in_fixture(NOT_WRITTEN)]),
    Check::of_kernel("memory.oom-group.kills-all", "v2: with memory.oom.group one OOM kills the whole group", V2, oom_group)
        .needs(&[Need::GroupFile("memory", "", "memory.oom.group")])
        .faults(&[in_fixture(NOT_WRITTEN)]),
    Check::of_kernel("memory.events.count", "v2: max, oom and oom_kill count one kill", V2, events)
        .needs(&[Need::V2("memory")])
        .faults(&[in_fixture(OTHER_GROUP)]),
    Check::of_kernel("memory.peak.records", "the high-water mark is what was touched", V2, peak)
        .needs(&[Need::GroupFile("memory", "memory.max_usage_in_bytes", "memory.peak")])
        .faults(&[in_fixture(READ_BEFORE)]),
    Check::of_kernel("memory.reclaim.works", "v2: memory.reclaim (since Linux 5.19) shrinks the usage", V2, reclaim)
        .needs(&[Need::GroupFile("memory", "", "memory.reclaim"), Need::Loop])
        .faults(&[in_fixture(NOT_WRITTEN)]),
    Check::of_kernel(
        "memory.oom-control.disabled",
        "v1: oom_kill_disable makes the task wait instead of killing it, and it goes on when the limit is raised",
        V1,
        oom_control,
    )
    .needs(&[Need::V1("memory")])
    .faults(&[in_fixture(NOT_WRITTEN)]),
];

const PARENT_UNLIMITED: &str = "parent unlimited";
const OTHER_GROUP: &str = "another group's file";
const NOT_WRITTEN: &str = "not written";
const READ_BEFORE: &str = "read before the touch";

fn signal_of(probe: &mut Probe, bytes: u64) -> Result<i32, Trouble> {
    Ok(probe.ask(tasks::touch_in_child(bytes))?.signal)
}

fn mib(bytes: u64) -> f64 {
    as_f64(bytes) / as_f64(MIB)
}

fn hierarchical(kernel: &mut KernelFixture) -> Checked {
    let parent = kernel.cell("parent")?;
    let (one, other) = (parent.child("one")?, parent.child("other")?);
    if !kernel.has(PARENT_UNLIMITED) {
        parent.limit_memory(48 * MIB)?;
    }
    let (mut first, mut second) = (one.probe()?, other.probe()?);
    first.ask(tasks::hold(24 * MIB))?;
    kernel.seen.expect_eq(
        "signal that ended 16 MiB in the other child",
        &signal_of(&mut second, 16 * MIB)?,
        &0,
    );
    let child = signal_of(&mut second, 40 * MIB);
    // The killer takes the child that wants more, or the one that holds, or the child's parent. All three are asked: a broken
    // channel alone is no kill.
    let killed = [
        ("the child", child.as_ref().is_ok_and(|signal| *signal == libc::SIGKILL)),
        ("the one that holds", ended(&mut first)? == Some(libc::SIGKILL)),
        ("the child's parent", child.is_err() && ended(&mut second)? == Some(libc::SIGKILL)),
    ];
    let names: Vec<&str> = killed.iter().filter(|(_, killed)| *killed).map(|(name, _)| *name).collect();
    kernel.seen.expect(
        "killed by SIGKILL when both together wanted more",
        format!("{names:?}"),
        "somebody",
        !names.is_empty(),
    );
    drop((first, second));
    Ok(())
}

fn first_toucher(kernel: &mut KernelFixture) -> Checked {
    const AMOUNT: u64 = 24 * MIB;
    let (one, other) = (kernel.cell("one")?, kernel.cell("other")?);
    let watched = if kernel.has(OTHER_GROUP) { &other } else { &one };
    let (mut first, mut second) = (one.probe()?, other.probe()?);
    let before = watched.memory_usage()?;
    let path = kernel.dir().join("file").display().to_string();
    first.ask(files::write_stream(&path, AMOUNT, 65_536, How::Create))?;
    let grown = watched.memory_usage()?.saturating_sub(before);
    kernel.seen.expect_in(
        "growth of the writer's charge, in MiB",
        mib(grown),
        23.0..=27.0,
        "batches of 64 pages for each CPU",
        0.0,
    );
    let theirs = other.memory_usage()?;
    second.ask(files::read_stream(&path, AMOUNT, How::Buffered))?;
    let grown = other.memory_usage()?.saturating_sub(theirs);
    kernel.seen.expect_in(
        "growth of a later reader's charge, in MiB",
        mib(grown),
        0.0..=2.0,
        "the same",
        0.0,
    );
    fs::remove_file(&path)?;
    let left = watched.memory_usage()?.saturating_sub(before);
    kernel.seen.expect_in("what is left of it afterwards, in MiB", mib(left), 0.0..=3.0, "the same", 0.0);
    drop((first, second));
    Ok(())
}

fn disk(kernel: &KernelFixture, size: u64) -> Result<(LoopDevice, String), Trouble> {
    let device = LoopDevice::attach(&kernel.dir().join("disk"), size)?;
    let path = device.path.display().to_string();
    Ok((device, path))
}

fn high(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let (_device, path) = disk(kernel, 96 * MIB)?;
    if !kernel.has(NOT_WRITTEN) {
        fs::write(cell.dir("memory")?.join("memory.high"), HIGH.to_string())?;
    }
    let mut probe = cell.probe()?;
    let read = probe.ask(files::read_stream(&path, 80 * MIB, How::Buffered));
    kernel.seen.expect_eq("the reader survived", &read.is_ok(), &true);
    let usage = cell.memory_usage()?;
    kernel.seen.expect_in(
        "memory charged afterwards, in MiB",
        mib(usage),
        0.0..=32.0,
        "high, and what is charged between two reclaims",
        0.0,
    );
    let events = cell.keyed("memory", "memory.events", "high")?;
    kernel.seen.expect("times that high was passed", events, "1 or more", events >= 1);
    // What cannot be dropped is there already: the probe itself, and what the kernel keeps for it.
    let dropped = cell.keyed("memory", "memory.stat", "file")?
        + cell.keyed("memory", "memory.stat", "slab_reclaimable")?;
    let bytes = (HIGH + PAST_HIGH).saturating_sub(cell.memory_usage()?.saturating_sub(dropped));
    let free = kernel.cell("free")?;
    let quick = touching(&mut free.probe()?, bytes)?;
    let before = cell.keyed("memory", "memory.events", "high")?;
    // Anonymous memory cannot be dropped without swap: what passes high is made to wait, and goes on.
    let slow = touching(&mut probe, bytes)?;
    let passed = cell.keyed("memory", "memory.events", "high")? - before;
    kernel.seen.expect("times that anonymous memory passed high", passed, "1 or more", passed >= 1);
    let slower = slow > 2 * quick;
    kernel.seen.expect(
        "time for anonymous memory just past high, in ms",
        slow.as_millis(),
        format!("more than twice the {} ms without a mark", quick.as_millis()),
        slower,
    );
    let kills = cell.keyed("memory", "memory.events", "oom_kill")?;
    kernel.seen.expect_eq("kills", &kills, &0);
    drop(probe);
    Ok(())
}

/// The mark of [`high`].
const HIGH: u64 = 24 * MIB;

/// How far the group is driven past it. The wait for each batch of pages grows with the square of what is above it: this far it is
/// about a second in all, and 4 MiB would take half a minute. Source: mm/memcontrol.c, calculate_high_delay().
const PAST_HIGH: u64 = 3 * MIB / 2;

/// How long it takes to write to new memory; the one who does must survive.
fn touching(probe: &mut Probe, bytes: u64) -> Result<Duration, Trouble> {
    let start = Instant::now();
    probe.ask(tasks::touch(bytes))?;
    Ok(start.elapsed())
}

fn low(kernel: &mut KernelFixture) -> Checked {
    let parent = kernel.cell("parent")?;
    parent.limit_memory(56 * MIB)?;
    let (kept, greedy) = (parent.child("kept")?, parent.child("greedy")?);
    if !kernel.has(NOT_WRITTEN) {
        fs::write(kept.dir("memory")?.join("memory.low"), (32 * MIB).to_string())?;
    }
    let (_device, path) = disk(kernel, 128 * MIB)?;
    let other = LoopDevice::attach(&kernel.dir().join("other"), 32 * MIB)?;
    let (mut quiet, mut loud) = (kept.probe()?, greedy.probe()?);
    quiet.ask(files::read_stream(&other.path.display().to_string(), 24 * MIB, How::Buffered))?;
    let before = kept.memory_usage()?;
    loud.ask(files::read_stream(&path, 120 * MIB, How::Buffered))?;
    let after = kept.memory_usage()?;
    kernel.seen.note(format!("{:.1} MiB before, {:.1} MiB after", mib(before), mib(after)));
    let share = as_f64(after) / as_f64(before) * 100.0;
    kernel.seen.expect_in(
        "what the protected group kept, in %",
        share,
        90.0..=105.0,
        "batches of 64 pages for each CPU",
        0.0,
    );
    drop((quiet, loud));
    Ok(())
}

fn oom_group(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    cell.limit_memory(32 * MIB)?;
    if !kernel.has(NOT_WRITTEN) {
        fs::write(cell.dir("memory")?.join("memory.oom.group"), "1")?;
    }
    let (mut greedy, mut bystander) = (cell.probe()?, cell.probe()?);
    let _ = signal_of(&mut greedy, 64 * MIB);
    let ended = ended(&mut bystander)?;
    kernel.seen.expect_eq("signal that ended the bystander", &ended, &Some(libc::SIGKILL));
    Ok(())
}

/// How a process ended, if it does within a moment.
fn ended(probe: &mut Probe) -> Result<Option<i32>, Trouble> {
    let process = runtime::process::pidfd::open(probe.pid)?;
    let _ =
        runtime::process::pidfd::wait_exit(std::os::fd::AsFd::as_fd(&process), Duration::from_millis(500))?;
    probe.ended_by()
}

fn events(kernel: &mut KernelFixture) -> Checked {
    let (cell, other) = (kernel.cell("group")?, kernel.cell("other")?);
    cell.limit_memory(32 * MIB)?;
    let mut probe = cell.probe()?;
    let signal = signal_of(&mut probe, 64 * MIB)?;
    kernel.seen.expect_eq("signal that ended the child", &signal, &libc::SIGKILL);
    let watched = if kernel.has(OTHER_GROUP) { &other } else { &cell };
    for (key, exact) in [("max", false), ("oom", false), ("oom_kill", true)] {
        let count = watched.keyed("memory", "memory.events", key)?;
        let holds = if exact { count == 1 } else { count >= 1 };
        kernel.seen.expect(
            &format!("{key} in memory.events"),
            count,
            if exact { "1" } else { "1 or more" },
            holds,
        );
    }
    drop(probe);
    Ok(())
}

fn peak(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let mut probe = cell.probe()?;
    let read = || counted(cell.group().stats().memory_peak, "the peak of memory");
    let base = cell.memory_usage()?;
    let early = read()?;
    probe.ask(tasks::touch(24 * MIB))?;
    let seen = if kernel.has(READ_BEFORE) { early } else { read()? };
    let peak = mib(seen.saturating_sub(base));
    kernel.seen.expect_in(
        "the mark beyond what was used before, in MiB",
        peak,
        23.0..=27.0,
        "batches of 64 pages for each CPU",
        0.0,
    );
    let now = mib(cell.memory_usage()?.saturating_sub(base));
    kernel.seen.expect_in("what is used now, in MiB", now, 0.0..=3.0, "the same", 0.0);
    drop(probe);
    Ok(())
}

fn reclaim(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let (_device, path) = disk(kernel, 64 * MIB)?;
    let mut probe = cell.probe()?;
    probe.ask(files::read_stream(&path, 48 * MIB, How::Buffered))?;
    let before = cell.memory_usage()?;
    if !kernel.has(NOT_WRITTEN) {
        // EAGAIN says that less was reclaimed than was asked for; how much is what is looked at.
        let _ = fs::write(cell.dir("memory")?.join("memory.reclaim"), (32 * MIB).to_string());
    }
    let shrunk = mib(before.saturating_sub(cell.memory_usage()?));
    kernel.seen.expect_in(
        "how far the usage shrank, in MiB",
        shrunk,
        28.0..=48.0,
        "asked for 32, in batches of pages",
        0.0,
    );
    drop(probe);
    Ok(())
}

fn oom_control(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    cell.limit_memory(32 * MIB)?;
    let control = cell.dir("memory")?.join("memory.oom_control");
    if !kernel.has(NOT_WRITTEN) {
        fs::write(&control, "1")
            .map_err(|error| Trouble::Skip(format!("the killer cannot be disabled here: {error}")))?;
    }
    let mut probe = cell.probe()?;
    let question = tasks::touch_in_child(48 * MIB);
    probe.tell(&question)?;
    let waits = await_true(|| Ok(fs::read_to_string(&control)?.contains("under_oom 1")))?;
    kernel.seen.expect_eq("the task waits in the full group", &waits, &true);
    raise(&cell)?;
    let ended = probe.answer(&question)?;
    kernel.seen.expect_eq("signal that ended it after the limit was raised", &ended.signal, &0);
    Ok(())
}

/// More than the task wants. Memory may never exceed memory with swap, so that goes first.
fn raise(cell: &Cell) -> Checked {
    let dir = cell.dir("memory")?;
    for file in ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"] {
        if dir.join(file).exists() {
            fs::write(dir.join(file), (128 * MIB).to_string())?;
        }
    }
    Ok(())
}

/// Waits for what nobody announces, looking every millisecond; says whether it came within a fifth of patience.
fn await_true(mut look: impl FnMut() -> Result<bool, Trouble>) -> Result<bool, Trouble> {
    let deadline = Instant::now() + PATIENCE / 5;
    while Instant::now() < deadline {
        if look()? {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}
