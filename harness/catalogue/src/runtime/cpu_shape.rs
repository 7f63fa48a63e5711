//! The shape of throttling, as the throttled process itself feels it.

use kit::check::{Check, Checked};
use kit::fault;
use kit::measure::{Control, as_f64, busy_time, counted, millis, periods, stalls};
use kit::need::Need;
use kit::notebook::Control as Disturbed;
use kit::runtime::RuntimeFixture;
use kit::verbs::cpu;

pub(crate) const CHECKS: &[Check] = &[Check::of_runtime(
    "cpu.throttle.gap-shape",
    "the stalls of a busy loop are about as long as period less quota, one in each period",
    "Documentation/scheduler/sched-bwc.rst",
    gap_shape,
)
.needs(&[Need::Controller("cpu")])
.faults(&[fault::QUOTA_NOT_WRITTEN])
.timing("a tick of 10 ms (CONFIG_HZ=100, the coarsest in use) and a slice of 5 ms")];

const QUOTA_MS: f64 = 20.0;
const PERIOD_MS: f64 = 100.0;
const WATCHED_MS: f64 = 1_200.0;
/// A shorter pause is no stall.
const SHORTEST_MS: f64 = 10.0;
const TICK_AND_SLICE_MS: f64 = 15.0;

fn gap_shape(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().cpu_quota(20_000, 100_000).start()?;
    let group = container.group()?;
    let used = || counted(group.stats().cpu_usage_ns, "CPU time").map(|time| as_f64(time) / 1e6);
    let (own, busy) = (used()?, busy_time(0)?);
    let control = Control::begin()?;
    let answer = container.ask(cpu::gaps(1200, 10000))?;
    let late = millis(control.end()?);
    // While others have the CPU the quota is used up later, and what is left of the period is shorter.
    let others = (busy_time(0)? - busy - (used()? - own)).max(0.0);
    let noise = late + others * PERIOD_MS / WATCHED_MS;
    container.close()?;
    let stalls = stalls(&answer);
    let lengths: Vec<f64> = stalls.iter().map(|(_, length)| *length).collect();
    let distances = periods(&stalls);
    runtime.seen.series("start of each stall", "ms", stalls.iter().map(|(start, _)| *start).collect());
    runtime.seen.series("stalls", "ms", lengths.clone());
    runtime.seen.series("from the end of a stall to that of the next", "ms", distances.clone());
    runtime.seen.series("quota and period", "ms", vec![QUOTA_MS, PERIOD_MS]);
    // The first and the last period are not whole. What others take of a period may keep the quota from being used up, and a pause
    // that they cause looks like a stall.
    let expected = WATCHED_MS / PERIOD_MS;
    let disturbed = Disturbed {
        below: others / (PERIOD_MS - QUOTA_MS) + late / PERIOD_MS,
        above: (others + late) / SHORTEST_MS,
    };
    runtime.seen.expect_beside(
        "number of stalls in 1.2 s",
        f64::from(u32::try_from(stalls.len()).unwrap_or(u32::MAX)),
        expected - 2.0..=expected + 1.0,
        "one period in 1.2 s at each end",
        disturbed,
    );
    let derived = "tick and slice";
    let band = |middle: f64| (middle - TICK_AND_SLICE_MS)..=(middle + TICK_AND_SLICE_MS);
    runtime.seen.expect_in(
        "median stall, in ms",
        median(lengths),
        band(PERIOD_MS - QUOTA_MS),
        derived,
        noise,
    );
    runtime.seen.expect_in("median distance, in ms", median(distances), band(PERIOD_MS), derived, noise);
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
