//! Memory limits.

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::{look, tasks};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "memory.limit.oom-kills",
        "touching memory past the limit is killed, what is within it is not, and the event counter rises",
        "Documentation/admin-guide/cgroup-v1/memory.rst; cgroup-v2.rst, memory.max and memory.events",
        oom_kills,
    )
    .needs(&[Need::Controller("memory")])
    .faults(&[fault::MEMORY_LIMIT_NOT_WRITTEN]),
    Check::of_runtime(
        "memory.limit.confined",
        "the neighbour's processes and the host's survive a container that runs out of memory",
        "Documentation/admin-guide/cgroup-v1/memory.rst; cgroup-v2.rst, Memory",
        confined,
    )
    .needs(&[Need::Controller("memory")])
    .faults(&[Fault { name: "shared group", kind: FaultKind::GroupShared }]),
];

const MIB: i64 = 1 << 20;
const LIMIT: i64 = 32 * MIB;

/// How many bytes fit below a limit, beside the probe's own few hundred KiB, and how many are past it. The kernel takes back what CPUs
/// have charged ahead before it kills anybody, so the limit is exact.
pub(crate) fn around(limit: i64) -> (u64, u64) {
    let limit = limit.cast_unsigned();
    (limit / 8 * 7, limit / 8 * 9)
}

fn oom_kills(runtime: &mut RuntimeFixture) -> Checked {
    let (within, past) = around(LIMIT);
    let mut container = runtime.container().memory(LIMIT).start()?;
    let group = container.group()?;
    let kills = || group.stats().oom_kills;
    let before = kills();
    let ended = container.ask(tasks::touch_in_child(within))?;
    runtime.seen.expect_eq(
        "signal and status of a child that touches seven eighths of the limit",
        &(ended.signal, ended.status),
        &(0, 0),
    );
    let ended = container.ask(tasks::touch_in_child(past))?;
    runtime.seen.expect_eq(
        "signal that ended a child that touches nine eighths of the limit",
        &ended.signal,
        &libc::SIGKILL,
    );
    let after = kills();
    // The counter is part of the claim; a v1 group has it since 4.13, older than every kernel of the matrix.
    let missing = || Trouble::Harness("the group counts no OOM kills (Linux 4.13)".into());
    let counted = after.ok_or_else(missing)? - before.ok_or_else(missing)?;
    runtime.seen.expect_eq("kills counted for it", &counted, &1);
    container.close()?;
    Ok(())
}

fn confined(runtime: &mut RuntimeFixture) -> Checked {
    let mut host = runtime.host_probe()?;
    let mut victim = runtime.container().memory(LIMIT).start()?;
    let mut neighbour = runtime.container().start()?;
    // Both have more than the victim is allowed, so that a killer that looked further would choose them.
    let large = 48 * MIB.cast_unsigned();
    host.ask(tasks::hold(large))?;
    let holds = neighbour.ask(tasks::hold(large)).is_ok();
    runtime.seen.expect_eq("the neighbour may have more than the victim", &holds, &true);
    let ended = victim.ask(tasks::touch_in_child(2 * LIMIT.cast_unsigned()));
    let killed = ended.ok().map(|ended| ended.signal);
    runtime.seen.expect_eq("signal that ended the process that took too much", &killed, &Some(libc::SIGKILL));
    let survives = |answer: Result<(), Trouble>| answer.is_ok();
    runtime.seen.expect_eq("the neighbour answers", &survives(neighbour.ask(look::alive())), &true);
    runtime.seen.expect_eq("the host's process answers", &survives(host.ask(look::alive())), &true);
    Ok(())
}
