//! CPU quotas of containers: how much, at which period, for whom, and when they change.
//!
//! What a group gets beyond its quota is bounded by the clock tick, at which the kernel notices, and by the slice that
//! a CPU takes at a time; both are repaid later, so the error of a window does not grow with its length.

use std::time::{Duration, Instant};

use runtime::cgroup::Group;

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, resources};
use kit::measure::{Control, as_f64, busy_time, millis, periods, slice, stalls, tick};
use kit::need::Need;
use kit::runtime::Container;
use kit::runtime::RuntimeFixture;
use kit::verbs::cpu;

const SOURCE: &str = "Documentation/scheduler/sched-bwc.rst; cgroup-v2.rst, cpu.max";
const NEEDS: &[Need] = &[Need::Controller("cpu"), Need::CpuAccounting];
const EDGE: &str =
    "a clock tick and a slice for each CPU at the edges of the window; what a CPU uses too much is repaid";

const HALVED: Fault = fault::config("quota halved", |spec| {
    if let Some(cpu) = resources(spec).cpu.as_mut() {
        cpu.quota = cpu.quota.map(|quota| quota / 2);
    }
});
const HALF_AGAIN: Fault = fault::config("quota half as much again", |spec| {
    if let Some(cpu) = resources(spec).cpu.as_mut() {
        cpu.quota = cpu.quota.map(|quota| quota * 3 / 2);
    }
});
const PERIOD_FIXED: Fault = fault::config("period fixed at 40 ms", |spec| {
    if let Some(cpu) = resources(spec).cpu.as_mut() {
        (cpu.quota, cpu.period) = (Some(8_000), Some(40_000));
    }
});
const FOR_EACH_THREAD: Fault = fault::config("quota for each thread", |spec| {
    if let Some(cpu) = resources(spec).cpu.as_mut() {
        cpu.quota = cpu.quota.map(|quota| quota * 4);
    }
});
const QUOTA_SET_TOO: Fault = fault::config("quota set too", |spec| {
    let cpu = resources(spec).cpu.get_or_insert_default();
    (cpu.quota, cpu.period) = (Some(20_000), Some(100_000));
});

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "cpu.quota.sweep",
        "5, 10, 50, 100 and 150 % of a CPU, with as many threads as needed, each hold",
        SOURCE,
        sweep,
    )
    .needs(&[Need::Controller("cpu"), Need::CpuAccounting, Need::Cpus(2)])
    .faults(&[HALVED, HALF_AGAIN])
    .timing(EDGE),
    Check::of_runtime(
        "cpu.quota.period-sweep",
        "20 % holds at periods of 10 ms, 100 ms and 1 s, and the on/off pattern has the period's length",
        SOURCE,
        period_sweep,
    )
    .needs(NEEDS)
    .faults(&[PERIOD_FIXED, HALVED, HALF_AGAIN])
    .timing(
        "a tick at each end of a stall; at a period of a few ticks a debt may last for whole periods more",
    ),
    Check::of_runtime(
        "cpu.quota.shared-by-threads",
        "many threads together get the quota, not each",
        SOURCE,
        shared_by_threads,
    )
    .needs(NEEDS)
    .faults(&[FOR_EACH_THREAD])
    .timing(EDGE),
    Check::of_runtime(
        "cpu.quota.live-update",
        "a changed quota applies within two periods",
        SOURCE,
        live_update,
    )
    .needs(NEEDS)
    .faults(&[fault::UPDATE_DROPPED])
    .timing(EDGE),
    Check::of_runtime("cpu.quota.unlimited", "a quota of -1 (max) lifts the limit", SOURCE, unlimited)
        .needs(NEEDS)
        .faults(&[fault::UPDATE_DROPPED])
        .timing(EDGE),
    Check::of_runtime(
        "cpu.weight.work-conserving",
        "a group of the lowest weight gets the whole CPU when nobody else wants it",
        "Documentation/scheduler/sched-design-CFS.rst; cgroup-v2.rst, Weights",
        work_conserving,
    )
    .needs(NEEDS)
    .faults(&[QUOTA_SET_TOO])
    .timing("others' use of the same CPU, as /proc/stat has it"),
    Check::of_runtime(
        "cpu.cpuset.pins",
        "threads run on the set CPUs only, and sched_getaffinity shows it",
        "cpuset(7); cgroup-v2.rst, cpuset.cpus",
        cpuset_pins,
    )
    .needs(&[Need::Controller("cpuset"), Need::CpuAccounting, Need::Cpus(2)])
    .faults(&[fault::config("cpuset not written", |spec| resources(spec).cpu = None)])
    .timing(EDGE),
];

/// CPU time that a group used in a window, in ms, and the window's length.
struct Used {
    cpu: f64,
    wall: f64,
    throttled: u64,
    late: f64,
    /// What others used of all CPUs meanwhile, in ms: the only excuse for a group that got too little.
    others: f64,
}

/// CPU time used on all CPUs, in ms.
fn busy_on_all() -> Result<f64, Trouble> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    (0..cpus).map(busy_time).sum()
}

/// Watches a group for so long; what is measured is the passing of time itself.
fn watch(group: &Group, window: Duration) -> Result<Used, Trouble> {
    let control = Control::begin()?;
    let read = || {
        let stats = group.stats();
        let cpu = stats.cpu_usage_ns.ok_or_else(|| Trouble::Harness("CPU time is not accounted".into()))?;
        let throttled = stats.nr_throttled.ok_or_else(|| {
            Trouble::Harness("the group counts no throttling (CONFIG_CFS_BANDWIDTH)".into())
        })?;
        Ok::<_, Trouble>((cpu, throttled, Instant::now()))
    };
    let (before, busy) = (read()?, busy_on_all()?);
    std::thread::sleep(window);
    let (after, busy) = (read()?, busy_on_all()? - busy);
    let late = millis(control.end()?);
    let cpu = as_f64(after.0 - before.0) / 1e6;
    Ok(Used {
        cpu,
        others: (busy - cpu).max(0.0),
        wall: millis(after.2 - before.2),
        throttled: after.1 - before.1,
        late,
    })
}

/// Of the quotas whose use is watched, in ms.
const PERIOD_MS: f64 = 50.0;

/// How far the use of a window may be from the quota: at each edge each CPU may be in the middle of a tick or a slice.
fn edge(cpus: f64) -> f64 {
    cpus * millis(tick() + slice())
}

/// Expects `percent` of a CPU, but no more than there is.
fn expect_share(runtime: &mut RuntimeFixture, what: &str, used: &Used, percent: f64, cpus: f64) {
    let expected = used.wall * percent / 100.0;
    // Hardly any kernel charges the quota's last ticks exactly; a whole window of it is what must hold.
    let slack = edge(cpus) + expected * 0.02;
    let what = format!("{what}: CPU time in {:.0} ms, in ms", used.wall);
    // Others can only take CPU time away, no more than they used, and only of periods in which the group was not throttled.
    let lacks = (used.wall / PERIOD_MS - as_f64(used.throttled) - 2.0).max(0.0) * PERIOD_MS * percent / 100.0;
    let noise = if used.cpu < expected { lacks.min(used.others) } else { 0.0 } + used.late * cpus;
    runtime.seen.expect_in(
        &what,
        used.cpu,
        (expected - slack)..=(expected + slack),
        "tick and slice at the edges, 2 % of rounding",
        noise,
    );
}

fn busy(
    runtime: &mut RuntimeFixture,
    quota: i64,
    period: u64,
    threads: u32,
) -> Result<(Container, Group), Trouble> {
    let mut container = runtime.container().cpu_quota(quota, period).start()?;
    let group = container.group()?;
    container.ask(cpu::spin_anywhere(threads))?;
    // The first periods begin at an arbitrary moment with a full quota.
    std::thread::sleep(Duration::from_micros(3 * period));
    Ok((container, group))
}

fn sweep(runtime: &mut RuntimeFixture) -> Checked {
    const PERIOD: u64 = 50_000;
    let (mut asked, mut got) = (Vec::new(), Vec::new());
    // The smaller the quota, the longer the window: what is uncertain at its edges is then small beside it.
    for (percent, threads, window) in
        [(5_u32, 1, 2_000), (10, 1, 1_500), (50, 1, 600), (100, 2, 600), (150, 2, 600)]
    {
        let quota = i64::from(percent) * 500;
        let (container, group) = busy(runtime, quota, PERIOD, threads)?;
        let used = watch(&group, Duration::from_millis(window))?;
        container.close()?;
        asked.push(f64::from(percent));
        got.push(used.cpu / used.wall * 100.0);
        expect_share(runtime, &format!("{percent} %"), &used, f64::from(percent), f64::from(threads));
    }
    runtime.seen.series("asked", "% of a CPU", asked);
    runtime.seen.series("got", "% of a CPU", got);
    Ok(())
}

fn period_sweep(runtime: &mut RuntimeFixture) -> Checked {
    for (period, watched) in [(10_u64, 1_000_u64), (100, 1_000), (1_000, 2_300)] {
        let quota = i64::try_from(period * 200).unwrap_or(i64::MAX);
        let mut container = runtime.container().cpu_quota(quota, period * 1_000).start()?;
        let group = container.group()?;
        // It runs on the first CPU that it may use.
        let cpu = container.ask(cpu::affinity())?.allowed.first().copied();
        let cpu = cpu.ok_or_else(|| Trouble::Subject("the container may use no CPU".into()))?;
        let control = Control::begin()?;
        let (before, busy, start) = (counters(&group)?, busy_time(cpu)?, Instant::now());
        let answer = container.ask(cpu::gaps(watched, period * 400))?;
        let (after, wall) = (counters(&group)?, millis(start.elapsed()));
        let grown: [f64; 3] = std::array::from_fn(|which| after[which] - before[which]);
        let others = (busy_time(cpu)? - busy - grown[0]).max(0.0);
        let late = millis(control.end()?);
        container.close()?;
        let stalls = stalls(&answer);
        expect_fifth(runtime, period, grown, [wall, late, others]);
        expect_distances(runtime, (period, watched), &stalls, late, others);
    }
    Ok(())
}

/// From the end of a stall to that of the next it is a period, or a few.
fn expect_distances(
    runtime: &mut RuntimeFixture,
    (period, watched): (u64, u64),
    stalls: &[(f64, f64)],
    late: f64,
    others: f64,
) {
    let mut distances = periods(stalls);
    let name = format!("period {period} ms: from the end of a stall to that of the next");
    runtime.seen.series(&name, "ms", distances.clone());
    distances.sort_by(f64::total_cmp);
    let Some(median) = distances.get(distances.len() / 2).copied() else {
        // Where others have the CPU for the rest of a period, the quota is not used up in it.
        runtime.seen.expect_in(
            &format!("period {period} ms: stalls in {watched} ms"),
            as_f64(stalls.len() as u64),
            2.0..=f64::INFINITY,
            "one in each period",
            (others / (as_f64(period) * 0.8)).ceil(),
        );
        return;
    };
    let length = as_f64(period);
    let whole = (median / length).round().max(1.0);
    let slack = millis(tick()) + 1.0;
    runtime.seen.expect_in(
        &format!("period {period} ms: median distance, in ms"),
        median,
        (whole * length - slack)..=(whole * length + slack),
        "a tick",
        // Others that have the CPU put off the stall itself.
        late + others,
    );
    // Where a tick is a good part of the period, what was used too much takes whole periods to repay.
    let most = (millis(tick()) * 5.0 / length).ceil().max(1.0);
    runtime.seen.expect_in(
        &format!("period {period} ms: periods from stall to stall"),
        whole,
        1.0..=most,
        "debts of a tick",
        // What others took for so long was charged to the group, which repays it at a fifth of a CPU.
        (late + others) * 5.0 / length,
    );
}

/// CPU time of a group, its periods and its throttlings so far.
fn counters(group: &Group) -> Result<[f64; 3], Trouble> {
    let stats = group.stats();
    let counter = |value: Option<u64>| {
        value.map(as_f64).ok_or_else(|| Trouble::Harness("a counter of the group is missing".into()))
    };
    Ok([counter(stats.cpu_usage_ns)? / 1e6, counter(stats.nr_periods)?, counter(stats.nr_throttled)?])
}

/// Expects that the kernel counted as many periods as there were, and that the group used its quota in each period in which it was
/// throttled, and no more than that in any: others that want the CPU change nothing of both.
fn expect_fifth(runtime: &mut RuntimeFixture, period: u64, grown: [f64; 3], times: [f64; 3]) {
    let ([used, periods, throttled], [wall, late, others]) = (grown, times);
    let (length, slack) = (as_f64(period), millis(tick() + slice()));
    let what = |what: &str| format!("period {period} ms: {what}");
    let whole = wall / length;
    let count = (whole - 1.0 - whole * 0.01)..=(whole + 1.0);
    // In a period in which others have the CPU for all of it nothing is used, and the kernel does not count it.
    let (name, ends, missed) =
        (what("periods counted"), "one at the ends, 1 % counted late", (late + others) / length);
    runtime.seen.expect_in(&name, periods, count, ends, missed);
    // A quota is charged for each, and one period at either end is not whole.
    let quota = length / 5.0;
    let band = ((throttled - 1.0) * quota - slack)..=((periods + 1.0) * quota + slack);
    let name = what(&format!("CPU time in {periods} periods, throttled in {throttled}, in ms"));
    runtime.seen.expect_in(&name, used, band, "a quota, a tick and a slice", late);
}

fn shared_by_threads(runtime: &mut RuntimeFixture) -> Checked {
    let (container, group) = busy(runtime, 10_000, 50_000, 4)?;
    let used = watch(&group, Duration::from_millis(800))?;
    container.close()?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    expect_share(runtime, "4 threads at 20 %", &used, 20.0, as_f64(cpus as u64));
    Ok(())
}

fn live_update(runtime: &mut RuntimeFixture) -> Checked {
    let (container, group) = busy(runtime, 10_000, 50_000, 1)?;
    let driver = runtime.driver().clone();
    driver.call(&["update", "--cpu-period", "50000", "--cpu-quota", "30000", &container.id])?;
    std::thread::sleep(Duration::from_millis(100));
    let used = watch(&group, Duration::from_millis(500))?;
    expect_share(runtime, "20 % raised to 60 %", &used, 60.0, 1.0);
    driver.call(&["update", "--cpu-period", "50000", "--cpu-quota", "5000", &container.id])?;
    // Two periods, and what the old quota still lets it owe.
    std::thread::sleep(Duration::from_millis(100));
    let used = watch(&group, Duration::from_millis(500))?;
    container.close()?;
    expect_share(runtime, "60 % lowered to 10 %", &used, 10.0, 1.0);
    Ok(())
}

fn unlimited(runtime: &mut RuntimeFixture) -> Checked {
    let (container, group) = busy(runtime, 5_000, 50_000, 1)?;
    runtime.driver().clone().call(&["update", "--cpu-quota", "-1", &container.id])?;
    std::thread::sleep(Duration::from_millis(100));
    let used = watch(&group, Duration::from_millis(300))?;
    container.close()?;
    runtime.seen.expect_eq("throttlings after the limit was lifted", &used.throttled, &0);
    let share = used.cpu / used.wall * 100.0;
    // Others may want the CPU too. The old quota would be told by its throttlings, which they cannot explain.
    let noise = (used.others.min(used.wall) + used.late) / used.wall * 100.0;
    runtime.seen.expect_in(
        "CPU time, in %",
        share,
        80.0..=101.0,
        "a whole CPU less what interrupts take",
        noise,
    );
    Ok(())
}

fn work_conserving(runtime: &mut RuntimeFixture) -> Checked {
    let v2 = runtime.layout().owner("cpu").is_some_and(|owner| owner.version == runtime::cgroup::Version::V2);
    let mut container = runtime.container().cpu_share(2, 1, v2).start()?;
    let group = container.group()?;
    let cpu = container.ask(cpu::spin(1))?;
    let before = busy_time(cpu)?;
    let used = watch(&group, Duration::from_millis(400))?;
    let others = (busy_time(cpu)? - before - used.cpu).max(0.0);
    container.close()?;
    let share = used.cpu / used.wall * 100.0;
    runtime.seen.note(format!("others used {others:.0} ms of the CPU"));
    let noise = (others + used.late) / used.wall * 100.0;
    runtime.seen.expect_in(
        "CPU time, in %",
        share,
        95.0..=101.0,
        "a hundredth of a second at each edge",
        noise,
    );
    Ok(())
}

fn cpuset_pins(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime
        .container()
        .with(|spec| resources(spec).cpu.get_or_insert_default().cpus = Some("0".into()))
        .start()?;
    let group = container.group()?;
    container.ask(cpu::spin_anywhere(3))?;
    let used = watch(&group, Duration::from_millis(200))?;
    let seen = container.ask(cpu::affinity())?;
    container.close()?;
    runtime.seen.expect_eq("CPUs that sched_getaffinity shows", &seen.allowed, &[0].into());
    runtime.seen.expect_eq("CPUs on which threads were seen", &seen.seen, &[0].into());
    let most = used.wall + edge(1.0);
    runtime.seen.expect_in(
        "CPU time of 3 busy threads, in ms",
        used.cpu,
        0.0..=most,
        "one CPU, and a tick",
        used.late,
    );
    Ok(())
}
