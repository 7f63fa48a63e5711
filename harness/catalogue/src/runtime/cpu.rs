//! CPU time: quotas and weights.
//!
//! How well a quota can be measured: one period's use differs from the quota by up to a fifth, because the kernel
//! notices an overrun only at a clock tick; but it is repaid in the next period, so the error over k whole periods
//! falls as 1/k. Measuring starts and ends where the group has just been throttled, which is where a period's use is
//! complete, and skips the first periods, in which the group starts with a full quota at an arbitrary moment.

use std::time::{Duration, Instant};

use record::Scope;
use runtime::cgroup::{Group, Stats, Version};

use kit::check::{Body, Check, Checked, Trouble};
use kit::container::Container;
use kit::fault;
use kit::measure::{Control, as_f64, busy_time, millis};
use kit::need::Need;
use kit::notebook::Notebook;
use kit::trial::Trial;
use kit::verbs::cpu;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "cpu.quota.20-percent",
        scope: Scope::Runtime,
        claim: "a quota of 20 ms in each period of 100 ms gives 20 % of one CPU to one busy thread",
        source: "Documentation/scheduler/sched-bwc.rst",
        needs: &[Need::Root, Need::Controller("cpu"), Need::CpuAccounting],
        faults: &[fault::QUOTA_NOT_WRITTEN],
        tolerance: "25 % / k over k whole periods, at least 1 %: the overrun of one period is repaid in the next",
        timing: true,
        body: Body::Runtime(twenty_percent),
    },
    Check {
        id: "cpu.throttle.accounting",
        scope: Scope::Runtime,
        claim: "nr_periods, nr_throttled and the throttled time grow as quota and run time say",
        source: "Documentation/scheduler/sched-bwc.rst, Statistics",
        needs: &[Need::Root, Need::Controller("cpu"), Need::CpuAccounting],
        faults: &[fault::QUOTA_NOT_WRITTEN],
        tolerance: "counts: 1 at each end; throttled time: one tick of 10 ms and one slice of 5 ms of each 80 ms",
        timing: true,
        body: Body::Runtime(accounting),
    },
    Check {
        id: "cpu.weight.proportional",
        scope: Scope::Runtime,
        claim: "shares 1024 and 2048 (weights 100 and 200) on one busy CPU give 1:2",
        source: "Documentation/scheduler/sched-design-CFS.rst; cgroup-v2.rst, cpu.weight",
        needs: &[Need::Root, Need::Controller("cpu"), Need::CpuAccounting],
        faults: &[fault::EQUAL_WEIGHTS],
        tolerance: "a tick of 10 ms and a slice of 5 ms at each end of 1 s: 30 ms of the smaller share of 333 ms, 9 %, taken as 10 %",
        timing: true,
        body: Body::Runtime(proportional),
    },
];

const QUOTA: Duration = Duration::from_millis(20);
const PERIOD: Duration = Duration::from_millis(100);
/// Periods that are not counted.
const SKIPPED: u64 = 3;
/// Periods that are.
const COUNTED: u64 = 8;

/// A group whose counters stay the same for so long stands: a running one's are brought up to date at each clock tick,
/// which is 10 ms at the most (CONFIG_HZ=100).
const STANDS: Duration = Duration::from_millis(15);

/// Counters at the two moments between which something was measured.
struct Window {
    before: Stats,
    after: Stats,
    wall: Duration,
}

impl Window {
    fn grown(&self, field: fn(&Stats) -> Option<u64>) -> Result<u64, Trouble> {
        let read =
            |stats| field(stats).ok_or_else(|| Trouble::Harness("a counter of the group is missing".into()));
        Ok(read(&self.after)? - read(&self.before)?)
    }
}

fn twenty_percent(trial: &mut Trial) -> Checked {
    let (container, group) = limited_and_busy(trial)?;
    let control = Control::begin()?;
    let window = throttled_window(&group, &mut trial.seen)?;
    let late = millis(control.end()?);
    let periods = window.grown(|stats| stats.nr_periods)?;
    let throttled = window.grown(|stats| stats.nr_throttled)?;
    let usage = Duration::from_nanos(window.grown(|stats| stats.cpu_usage_ns)?);
    trial.seen.expect(
        "periods in which it was throttled",
        throttled,
        format!("{COUNTED} or more"),
        throttled >= COUNTED,
    );
    // Without throttling there are no whole periods, and the wall clock is the measure.
    let span = if throttled > 0 { PERIOD.as_secs_f64() * as_f64(periods) } else { window.wall.as_secs_f64() };
    let percent = usage.as_secs_f64() / span * 100.0;
    let tolerance = 20.0 * (0.25 / as_f64(periods.max(1))).max(0.01);
    let derived = format!("25 % / k, k = {periods} periods");
    let starved = throttled + 1 < periods;
    // A clock that stands still for others charges the group with what it never had.
    let noise = late / span / 10.0;
    let band = 20.0 - tolerance..=20.0 + tolerance;
    let holds = trial.seen.expect_in("CPU time of one CPU, in %", percent, band, &derived, noise);
    container.close()?;
    if !holds && starved && percent < 20.0 {
        return Err(Trouble::Noise(format!(
            "the group got {percent:.1} %, but was throttled in {throttled} of {periods} periods: others took the CPU"
        )));
    }
    Ok(())
}

fn accounting(trial: &mut Trial) -> Checked {
    let (mut container, group) = limited_and_busy(trial)?;
    let allowed = container.ask(cpu::affinity())?.allowed;
    let cpu = *allowed.first().ok_or_else(|| Trouble::Subject("the container may use no CPU".into()))?;
    let used = || as_f64(group.stats().cpu_usage_ns.unwrap_or(0)) / 1e6;
    let (own, busy, start) = (used(), busy_time(cpu)?, Instant::now());
    let control = Control::begin()?;
    let window = throttled_window(&group, &mut trial.seen)?;
    let late = millis(control.end()?);
    // While others have the CPU the quota is used up later, and the group stands for a shorter time.
    let others = (busy_time(cpu)? - busy - (used() - own)).max(0.0);
    let others = others * window.wall.as_secs_f64() / start.elapsed().as_secs_f64();
    let periods = as_f64(window.grown(|stats| stats.nr_periods)?);
    let throttled = as_f64(window.grown(|stats| stats.nr_throttled)?);
    let stopped = Duration::from_nanos(window.grown(|stats| stats.throttled_ns)?).as_secs_f64() * 1e3;
    let elapsed = window.wall.as_secs_f64() / PERIOD.as_secs_f64();
    container.close()?;
    trial.seen.expect_near("growth of nr_periods", periods, elapsed, 1.0, "one period at the ends");
    trial.seen.expect_near("growth of nr_throttled", throttled, elapsed, 1.0, "one period at the ends");
    let each = (PERIOD - QUOTA).as_secs_f64() * 1e3;
    let tolerance = 15.0 * elapsed.max(1.0) + each;
    let derived = "15 ms of tick and slice in each period, one period at the ends";
    let band = (each * elapsed - tolerance)..=(each * elapsed + tolerance);
    trial.seen.expect_in("growth of the throttled time, in ms", stopped, band, derived, others + late);
    if throttled + 1.0 < periods {
        return Err(Trouble::Noise(format!(
            "throttled in {throttled} of {periods} periods: others took the CPU"
        )));
    }
    Ok(())
}

fn limited_and_busy(trial: &mut Trial) -> Result<(Container, Group), Trouble> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let quota = i64::try_from(micros(QUOTA)).unwrap_or(i64::MAX);
    let mut container = trial.container().cpu_quota(quota, micros(PERIOD)).start()?;
    let group = container.group()?;
    container.ask(cpu::spin(1))?;
    Ok((container, group))
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
    let first = group.stats().nr_throttled.unwrap_or(0);
    let (before, start) = after_throttlings(group, first + SKIPPED, patience);
    let from = before.nr_throttled.unwrap_or(0);
    let (after, end) = after_throttlings(group, from + COUNTED, patience);
    seen.file(&stat, "after");
    Ok(Window { before, after, wall: end - start })
}

/// The counters while the group stands throttled, after so many throttlings were counted, or when patience ends.
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
        // Who was held up himself has seen nothing of the time in between: the group may have been held up with him.
        if stats != last || now - looked > STANDS / 2 {
            (last, since) = (stats, now);
        }
        looked = now;
        let counted = last.nr_throttled.is_some_and(|throttled| throttled >= count);
        if (counted && now - since >= STANDS) || now > deadline {
            return (last, since);
        }
    }
}

fn proportional(trial: &mut Trial) -> Checked {
    let v2 = trial.layout().owner("cpu").is_some_and(|owner| owner.version == Version::V2);
    let mut light = trial.container().cpu_share(1024, 100, v2).start()?;
    let mut heavy = trial.container().cpu_share(2048, 200, v2).start()?;
    let groups = [light.group()?, heavy.group()?];
    let cpus = (light.ask(cpu::spin(1))?, heavy.ask(cpu::spin(1))?);
    if cpus.0 != cpus.1 {
        return Err(Trouble::Harness(format!("the two are on different CPUs: {cpus:?}")));
    }
    let usage = || -> Result<[u64; 2], Trouble> {
        let read = |group: &Group| {
            group.stats().cpu_usage_ns.ok_or_else(|| Trouble::Harness("CPU time is not accounted".into()))
        };
        Ok([read(&groups[0])?, read(&groups[1])?])
    };
    // What is measured is a stretch of time: first the one in which the scheduler settles, then the one that counts.
    std::thread::sleep(Duration::from_millis(200));
    let before = usage()?;
    std::thread::sleep(Duration::from_secs(1));
    let after = usage()?;
    light.close()?;
    heavy.close()?;
    let used: Vec<f64> =
        after.iter().zip(before).map(|(after, before)| as_f64(after - before) / 1e6).collect();
    trial.seen.series("CPU time of the light and the heavy group", "ms", used.clone());
    if used.iter().sum::<f64>() < 500.0 {
        return Err(Trouble::Noise(format!("both together got {:.0} ms of 1 s", used.iter().sum::<f64>())));
    }
    trial.seen.expect_near(
        "heavy to light",
        used[1] / used[0].max(0.001),
        2.0,
        0.2,
        "10 %, see the tolerance",
    );
    Ok(())
}
