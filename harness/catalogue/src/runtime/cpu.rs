//! CPU time: quotas and weights.
//!
//! How well a quota can be measured: one period's use differs from the quota by up to a fifth, because the kernel
//! notices an overrun only at a clock tick; but it is repaid in the next period, so the error over k whole periods
//! falls as 1/k. Measuring starts and ends where the group has just been throttled, which is where a period's use is
//! complete, and skips the first periods, in which the group starts with a full quota at an arbitrary moment.

use std::time::{Duration, Instant};

use runtime::cgroup::{Group, Stats, Version};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, resources};
use kit::measure::{Control, as_f64, busy_time, millis, slice, tick};
use kit::need::Need;
use kit::notebook::Notebook;
use kit::runtime::Container;
use kit::runtime::RuntimeFixture;
use kit::verbs::cpu;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "cpu.quota.20-percent",
        "a quota of 20 ms in each period of 100 ms gives 20 % of one CPU to one busy thread",
        "Documentation/scheduler/sched-bwc.rst",
        twenty_percent,
    )
    .needs(&[Need::Controller("cpu"), Need::CpuAccounting])
    .faults(QUOTA_FAULTS)
    .timing("25 % / k over k whole periods: the overrun of one period is repaid in the next; and how exactly the begin of a stop is seen at each end, 15 ms"),
    Check::of_runtime(
        "cpu.throttle.accounting",
        "nr_periods, nr_throttled and the throttled time grow as quota and run time say",
        "Documentation/scheduler/sched-bwc.rst, Statistics",
        accounting,
    )
    .needs(&[Need::Controller("cpu"), Need::CpuAccounting])
    .faults(&[fault::QUOTA_NOT_WRITTEN, HALF_THE_PERIOD])
    .timing("counts: 1 at the ends; throttled time: a tick and a slice at each end"),
    Check::of_runtime(
        "cpu.weight.proportional",
        "shares of 1:2 and 1:4 (on v2 weights too) on one busy CPU divide it so",
        "Documentation/scheduler/sched-design-CFS.rst; cgroup-v2.rst, cpu.weight",
        proportional,
    )
    .needs(&[Need::Controller("cpu"), Need::CpuAccounting])
    .faults(&[
            fault::EQUAL_WEIGHTS,
            fault::config("the ratio halved", |spec| {
                let resources = resources(spec);
                if let Some(shares) = resources.cpu.as_mut().and_then(|cpu| cpu.shares.as_mut()) {
                    *shares = if *shares > 1024 { *shares / 2 } else { *shares };
                }
                if let Some(weight) = resources.unified.get_mut("cpu.weight") {
                    "100".clone_into(weight);
                }
            }),
        ])
    .timing("a tick of 10 ms and a slice of 5 ms at each end: 30 ms of the smaller share of the window; on v2 runtimes turn shares into weights by one of two formulas"),
];

const QUOTA: Duration = Duration::from_millis(20);
const PERIOD: Duration = Duration::from_millis(100);
/// Periods that are not counted.
const SKIPPED: u64 = 3;
/// Periods that are.
const COUNTED: u64 = 8;

/// A group whose counters have not moved for this long is throttled: those of a running group are updated at each clock tick, which
/// is 10 ms at most (CONFIG_HZ=100).
const THROTTLED: Duration = Duration::from_millis(15);

/// Counters at the two moments between which something was measured.
struct Window {
    before: Stats,
    after: Stats,
    wall: Duration,
}

impl Window {
    fn grown(&self, field: fn(&Stats) -> Option<u64>) -> Result<u64, Trouble> {
        Ok(counter(field(&self.after))? - counter(field(&self.before))?)
    }
}

const HALF_THE_PERIOD: Fault = fault::config("half the period", |spec| {
    if let Some(cpu) = resources(spec).cpu.as_mut() {
        cpu.period = cpu.period.map(|period| period / 2);
    }
});

/// A quota that is lost, and others beside the one asked for.
const QUOTA_FAULTS: &[Fault] = &[
    fault::QUOTA_NOT_WRITTEN,
    HALF_THE_PERIOD,
    fault::config("half the quota", |spec| {
        if let Some(cpu) = resources(spec).cpu.as_mut() {
            cpu.quota = cpu.quota.map(|quota| quota / 2);
        }
    }),
];

/// A limited and busy group, measured from stop to stop, and what else went on.
struct Measured {
    window: Window,
    /// CPU time that the group used, in ms.
    used: f64,
    /// Length of the window, in ms.
    wall: f64,
    /// What others used of its CPU in that time, in ms: the only excuse for a group that got too little.
    others: f64,
    /// How long a CPU was withheld from the control, in ms: a stopped clock charges time that nobody had.
    late: f64,
}

fn measured(runtime: &mut RuntimeFixture) -> Result<Measured, Trouble> {
    let (container, group, cpu) = limited_and_busy(runtime)?;
    let used = || Ok::<_, Trouble>(as_f64(counter(group.stats().cpu_usage_ns)?) / 1e6);
    let (own, busy, start) = (used()?, busy_time(cpu)?, Instant::now());
    let control = Control::begin()?;
    let window = throttled_window(&group, &mut runtime.seen)?;
    let late = millis(control.end()?);
    let others = (busy_time(cpu)? - busy - (used()? - own)).max(0.0);
    container.close()?;
    let wall = millis(window.wall);
    let others = others * wall / millis(start.elapsed());
    let used = as_f64(window.grown(|stats| stats.cpu_usage_ns)?) / 1e6;
    runtime.seen.note(format!("others used {others:.0} ms of its CPU"));
    Ok(Measured { window, used, wall, others, late })
}

/// Periods in which others may have taken so much of the CPU that the group did not use up its quota.
fn starved(others: f64) -> f64 {
    (others / millis(PERIOD - QUOTA)).ceil()
}

fn twenty_percent(runtime: &mut RuntimeFixture) -> Checked {
    let Measured { window, used, wall, others, late } = measured(runtime)?;
    let throttled = as_f64(window.grown(|stats| stats.nr_throttled)?);
    let least = as_f64(COUNTED);
    runtime.seen.expect_in(
        "periods in which it was throttled",
        throttled,
        least..=f64::INFINITY,
        "counted at the end of each period",
        starved(others),
    );
    let periods = wall / millis(PERIOD);
    let percent = used / wall * 100.0;
    let tolerance = 20.0 * 0.25 / periods.max(1.0) + ENDS_MS / wall * 20.0;
    let derived = format!("25 % / k, k = {periods:.1} periods; 15 ms at the ends");
    // Each period in which it was not throttled may lack a quota that others took, and no other may.
    let lacks = ((periods - throttled - 1.0).max(0.0) * millis(QUOTA)).min(others);
    let noise = (if percent < 20.0 { lacks } else { 0.0 } + late) / wall * 100.0;
    let band = 20.0 - tolerance..=20.0 + tolerance;
    runtime.seen.expect_in("CPU time of one CPU, in %", percent, band, &derived, noise);
    Ok(())
}

/// How exactly the begin of a stop is seen, at both ends together.
const ENDS_MS: f64 = 15.0;

fn accounting(runtime: &mut RuntimeFixture) -> Checked {
    let Measured { window, used, wall, others, late } = measured(runtime)?;
    let periods = as_f64(window.grown(|stats| stats.nr_periods)?);
    let throttled = as_f64(window.grown(|stats| stats.nr_throttled)?);
    let stopped = as_f64(window.grown(|stats| stats.throttled_ns)?) / 1e6;
    let elapsed = wall / millis(PERIOD);
    let one = |expected: f64| (expected - 1.0)..=(expected + 1.0);
    let ends = "one period at the ends";
    runtime.seen.expect_in("growth of nr_periods", periods, one(elapsed), ends, late / millis(PERIOD));
    let noise = if throttled < elapsed { starved(others) } else { 0.0 };
    runtime.seen.expect_in("growth of nr_throttled", throttled, one(elapsed), ends, noise);
    // Between two throttlings the group either runs or is throttled, unless others have the CPU.
    let idle = wall - used;
    let slack = 2.0 * millis(tick() + slice());
    let band = (idle - slack)..=(idle + slack);
    let noise = others + late;
    runtime.seen.expect_in(
        "growth of the throttled time, in ms",
        stopped,
        band,
        "a tick and a slice at the ends",
        noise,
    );
    // And that is what the quota leaves of the time.
    let left = wall - elapsed * millis(QUOTA);
    let slack = ENDS_MS + 0.25 * millis(QUOTA);
    let band = (left - slack)..=(left + slack);
    let noise = if stopped < left { others + late } else { late };
    runtime.seen.expect_in(
        "the same beside what the quota leaves, in ms",
        stopped,
        band,
        "a tick and a slice at the ends",
        noise,
    );
    Ok(())
}

/// A counter that must be there.
fn counter(value: Option<u64>) -> Result<u64, Trouble> {
    value.ok_or_else(|| Trouble::Harness("a counter of the group is missing".into()))
}

fn limited_and_busy(runtime: &mut RuntimeFixture) -> Result<(Container, Group, usize), Trouble> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let quota = i64::try_from(micros(QUOTA)).unwrap_or(i64::MAX);
    let mut container = runtime.container().cpu_quota(quota, micros(PERIOD)).start()?;
    let group = container.group()?;
    let cpu = container.ask(cpu::spin(1))?;
    Ok((container, group, cpu))
}

/// Reads the counters in a throttling, skips the first ones, and reads them again so many throttlings later. If there is no
/// throttling at all, the window is as long as those periods would have been.
fn throttled_window(group: &Group, seen: &mut Notebook) -> Result<Window, Trouble> {
    let cpu = group.part("cpu").ok_or_else(|| Trouble::Harness("the group has no cpu controller".into()))?;
    let stat = cpu.dir.join("cpu.stat");
    seen.file(&cpu.dir.join("cpu.cfs_quota_us"), "before");
    seen.file(&cpu.dir.join("cpu.max"), "before");
    seen.file(&stat, "before");
    let patience = PERIOD * u32::try_from(SKIPPED + COUNTED).unwrap_or(u32::MAX);
    let first = counter(group.stats().nr_throttled)?;
    let (before, start) = after_throttlings(group, first + SKIPPED, patience);
    let from = counter(before.nr_throttled)?;
    let (after, end) = after_throttlings(group, from + COUNTED, patience);
    seen.file(&stat, "after");
    Ok(Window { before, after, wall: end - start })
}

/// The counters while the group is throttled, after so many throttlings were counted, or when patience ends.
///
/// The kernel counts a throttling at the end of its period, when the next one begins and the group runs again. So
/// after the count the next stop is awaited: only there is a period's use complete, and nothing of it moves while the
/// counters are read one after the other.
fn after_throttlings(group: &Group, count: u64, patience: Duration) -> (Stats, Instant) {
    let deadline = Instant::now() + patience;
    let (mut last, mut since) = (group.stats(), Instant::now());
    let mut looked = since;
    loop {
        // The kernel announces no throttling; a period is a hundred times as long.
        std::thread::sleep(Duration::from_millis(1));
        let (stats, now) = (group.stats(), Instant::now());
        // If this thread was descheduled, the gap says nothing about the group.
        if stats != last || now - looked > THROTTLED / 2 {
            (last, since) = (stats, now);
        }
        looked = now;
        let counted = last.nr_throttled.is_some_and(|throttled| throttled >= count);
        if (counted && now - since >= THROTTLED) || now > deadline {
            return (last, since);
        }
    }
}

/// A pair of containers of which one has a larger share of the CPU.
struct Pair {
    what: &'static str,
    /// Shares of both.
    shares: [u64; 2],
    /// Weights of both, where weights are asked for.
    weights: Option<[u64; 2]>,
    /// What the heavy one gets for each unit of the light one: at least, at most, before the tolerance.
    ratio: (f64, f64),
}

const WINDOW: Duration = Duration::from_millis(1_200);

fn proportional(runtime: &mut RuntimeFixture) -> Checked {
    let v2 = runtime.layout().owner("cpu").is_some_and(|owner| owner.version == Version::V2);
    let pair = |what, shares, weights, ratio| Pair { what, shares, weights, ratio };
    let pairs = if v2 {
        vec![
            pair("weights 100 and 200", [1024, 0], Some([100, 200]), (2.0, 2.0)),
            // Shares become weights by 1 + (shares - 2) * 9999 / 262142, and in newer runtimes so that 1024 is 100:
            // 10 ^ ((l² + 125 l) / 612 - 7/34), l = log2(shares). These are 39 and 157, 100 and 299.
            pair("shares 1024 and 4096", [1024, 4096], None, (2.99, 4.03)),
        ]
    } else {
        vec![
            // None of them is the kernel's own 1024, which a share that is lost would leave.
            pair("shares 600 and 1200", [600, 1200], None, (2.0, 2.0)),
            pair("shares 600 and 2400", [600, 2400], None, (4.0, 4.0)),
        ]
    };
    for pair in pairs {
        let used = share(runtime, &pair)?;
        runtime.seen.series(&format!("{}: CPU time of both", pair.what), "ms", used.to_vec());
        let (least, most) = pair.ratio;
        if used[0] + used[1] < millis(WINDOW) / 4.0 {
            return Err(Trouble::Noise(format!(
                "both together got {:.0} ms of {WINDOW:?}",
                used[0] + used[1]
            )));
        }
        // 30 ms of what the light one used, with what the heavy one has instead. Others that share the CPU take from both.
        let slack = |ratio: f64| 30.0 * (1.0 + ratio) / used[0].max(1.0);
        let band = (least - slack(least))..=(most + slack(most));
        let ratio = used[1] / used[0].max(0.001);
        runtime.seen.expect_in(
            &format!("{}: heavy to light", pair.what),
            ratio,
            band,
            "see the tolerance",
            0.0,
        );
    }
    Ok(())
}

/// What a pair used of one CPU in the window, in ms.
fn share(runtime: &mut RuntimeFixture, pair: &Pair) -> Result<[f64; 2], Trouble> {
    let weights = pair.weights;
    let start = |runtime: &mut RuntimeFixture, which: usize| {
        let weight = weights.map_or(0, |weights| weights[which]);
        runtime.container().cpu_share(pair.shares[which], weight, weights.is_some()).start()
    };
    let (mut light, mut heavy) = (start(runtime, 0)?, start(runtime, 1)?);
    let groups = [light.group()?, heavy.group()?];
    let cpus = (light.ask(cpu::spin(1))?, heavy.ask(cpu::spin(1))?);
    if cpus.0 != cpus.1 {
        return Err(Trouble::Harness(format!("the two are on different CPUs: {cpus:?}")));
    }
    let usage = || -> Result<[u64; 2], Trouble> {
        let read = |group: &Group| counter(group.stats().cpu_usage_ns);
        Ok([read(&groups[0])?, read(&groups[1])?])
    };
    // What is measured is a stretch of time: first the one in which the scheduler settles, then the one that counts.
    std::thread::sleep(Duration::from_millis(200));
    let before = usage()?;
    std::thread::sleep(WINDOW);
    let after = usage()?;
    light.close()?;
    heavy.close()?;
    let used = |which: usize| as_f64(after[which] - before[which]) / 1e6;
    Ok([used(0), used(1)])
}
