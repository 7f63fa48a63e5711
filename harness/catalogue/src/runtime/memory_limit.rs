//! Memory limits of containers beyond the first kill: cache, changes, tmpfs, swap.

use super::memory::around;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, in_fixture, resources};
use kit::loopdev::LoopDevice;
use kit::measure::{as_f64, counted};
use kit::need::Need;
use kit::runtime::Container;
use kit::runtime::RuntimeFixture;
use kit::verbs::files::How;
use kit::verbs::{files, tasks};

const V1_AND_V2: &str = "Documentation/admin-guide/cgroup-v1/memory.rst; cgroup-v2.rst, Memory";
const NEEDS: &[Need] = &[Need::Controller("memory")];
const MIB: i64 = 1 << 20;
const LIMIT: i64 = 32 * MIB;

const ANONYMOUS: &str = "anonymous memory instead of a file";
const FROM_OUTSIDE: &str = "written from the host's group";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "memory.limit.cache-is-reclaimed",
        "streaming three times the limit through the page cache kills nobody",
        V1_AND_V2,
        cache_is_reclaimed,
    )
    .needs(&[Need::Controller("memory"), Need::Loop])
    .faults(&[in_fixture(ANONYMOUS)]),
    Check::of_runtime(
        "memory.limit.live-update",
        "a raised limit lets more in, and a lowered one less",
        V1_AND_V2,
        live_update,
    )
    .needs(NEEDS)
    .faults(&[fault::UPDATE_DROPPED]),
    Check::of_runtime(
        "memory.tmpfs.is-charged",
        "what the container writes to a tmpfs counts against its limit",
        "Documentation/admin-guide/cgroup-v1/memory.rst, 2.3 Shared Page Accounting; tmpfs(5)",
        tmpfs_is_charged,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(FROM_OUTSIDE)]),
    Check::of_runtime("memory.swap.limit", "swap is bounded apart from memory", V1_AND_V2, swap_limit)
        .needs(&[Need::Controller("memory"), Need::Swap])
        .faults(&[SWAP_NOT_WRITTEN]),
];

const SWAP_NOT_WRITTEN: Fault = fault::config("swap limit not written", |spec| {
    if let Some(memory) = resources(spec).memory.as_mut() {
        memory.swap = Some(-1);
    }
});

fn killed(container: &mut Container, bytes: i64) -> Result<bool, Trouble> {
    let ended = container.ask(tasks::touch_in_child(bytes.cast_unsigned()))?;
    Ok(ended.signal == libc::SIGKILL)
}

fn cache_is_reclaimed(runtime: &mut RuntimeFixture) -> Checked {
    let backing = runtime.directory("backing")?.join("disk");
    let device = LoopDevice::attach(&backing, 128 << 20)?;
    let wanted = runtime.container().memory(LIMIT).device(&device, "rw");
    let mut container = wanted.start()?;
    let group = container.group()?;
    let before = group.stats().oom_kills;
    let amount = 3 * LIMIT.cast_unsigned();
    let read = if runtime.has(ANONYMOUS) {
        container.ask(tasks::touch(amount))
    } else {
        container.ask(files::read_stream("/dev/plimsoll-disk", amount, How::Buffered)).map(drop)
    };
    runtime.seen.expect_eq("the reader survived", &read.is_ok(), &true);
    match (before, group.stats().oom_kills) {
        (Some(before), Some(after)) => runtime.seen.expect_eq("kills counted", &(after - before), &0),
        _ => runtime.seen.note("this kernel does not count kills by group"),
    }
    if read.is_ok() {
        let usage = counted(group.stats().memory_usage, "memory")?;
        let most = LIMIT.cast_unsigned();
        runtime.seen.expect(
            "memory charged afterwards, in bytes",
            usage,
            format!("{most} or less"),
            usage <= most,
        );
        container.close()?;
    }
    Ok(())
}

fn live_update(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().memory(LIMIT).start()?;
    let driver = runtime.driver().clone();
    expect_limit(runtime, &mut container, "the first limit", LIMIT)?;
    let raised = (4 * LIMIT).to_string();
    driver.call(&["update", "--memory", &raised, "--memory-swap", &raised, &container.id])?;
    expect_limit(runtime, &mut container, "a raised limit", 4 * LIMIT)?;
    let lowered = LIMIT.to_string();
    driver.call(&["update", "--memory", &lowered, "--memory-swap", &lowered, &container.id])?;
    expect_limit(runtime, &mut container, "a lowered limit", LIMIT)?;
    container.close()?;
    Ok(())
}

/// That a limit is neither smaller nor larger than it should be.
fn expect_limit(
    runtime: &mut RuntimeFixture,
    container: &mut Container,
    what: &str,
    limit: i64,
) -> Result<(), Trouble> {
    let (within, past) = around(limit);
    for (amount, fate, expected) in [(within, "is within", false), (past, "is past", true)] {
        let ended = container.ask(tasks::touch_in_child(amount))?;
        runtime.seen.expect_eq(
            &format!("what {fate} {what} is killed"),
            &(ended.signal == libc::SIGKILL),
            &expected,
        );
    }
    Ok(())
}

fn tmpfs_is_charged(runtime: &mut RuntimeFixture) -> Checked {
    const WRITTEN: u64 = 16 << 20;
    let mut container = runtime.container().memory(LIMIT).start()?;
    let group = container.group()?;
    let usage = || counted(group.stats().memory_usage, "memory");
    let before = usage()?;
    if runtime.has(FROM_OUTSIDE) {
        let path = format!("/proc/{}/root/dev/shm/file", container.pid);
        runtime.host_probe()?.ask(files::write_stream(&path, WRITTEN, 65_536, How::Create))?;
    } else {
        container.ask(files::write_stream("/dev/shm/file", WRITTEN, 65_536, How::Create))?;
    }
    let grown = as_f64(usage()?.saturating_sub(before)) / as_f64(1 << 20);
    // Each CPU charges a batch of pages ahead, and the file's own bookkeeping is charged too.
    runtime.seen.expect_in(
        "growth of the charge, in MiB",
        grown,
        15.0..=19.0,
        "batches of 64 pages for each CPU",
        0.0,
    );
    // The rest of the limit: with what is in the file a process no longer has it.
    let (within, _) = around(LIMIT);
    let beside = container.ask(tasks::touch_in_child(within))?.signal;
    runtime.seen.expect_eq(
        "signal that ended who wanted the rest of the limit beside the file",
        &beside,
        &libc::SIGKILL,
    );
    container.ask(files::remove("/dev/shm/file"))?;
    let alone = container.ask(tasks::touch_in_child(within))?.signal;
    runtime.seen.expect_eq("signal that ended who wanted the same without the file", &alone, &0);
    let left = as_f64(usage()?.saturating_sub(before)) / as_f64(1 << 20);
    runtime.seen.expect_in(
        "what is left of it after the file was removed, in MiB",
        left,
        0.0..=3.0,
        "the same",
        0.0,
    );
    container.close()?;
    Ok(())
}

fn swap_limit(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().memory(LIMIT).with(|spec| {
        if let Some(memory) = resources(spec).memory.as_mut() {
            memory.swap = Some(2 * LIMIT);
        }
    });
    let mut container = wanted.start()?;
    runtime.seen.expect_eq("half as much again is killed", &killed(&mut container, LIMIT * 3 / 2)?, &false);
    runtime.seen.expect_eq("three times as much is killed", &killed(&mut container, 3 * LIMIT)?, &true);
    container.close()?;
    Ok(())
}
