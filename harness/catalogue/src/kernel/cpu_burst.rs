//! Bursts and idle groups.

use super::cpu::{edge, usage};
use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::{Cell, KernelFixture};
use kit::measure::as_f64;
use kit::need::Need;
use kit::probes::Probe;
use kit::verbs::cpu;
use std::time::Duration;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "cpu.burst.accumulates",
        "saved run time is usable up to the burst, and no more (since Linux 5.14)",
        "Documentation/scheduler/sched-bwc.rst, Burst feature",
        burst,
    )
    .needs(&[Need::GroupFile("cpu", "cpu.cfs_burst_us", "cpu.max.burst")])
    .faults(&[in_fixture(NO_BURST), in_fixture(MORE_BURST)])
    .timing("a tick and a slice; without the burst a stall of most of a period"),
    Check::of_kernel(
        "cpu.idle.yields",
        "an idle group yields to a normal one (since Linux 5.15)",
        "cgroup-v2.rst, cpu.idle",
        idle_yields,
    )
    .needs(&[Need::GroupFile("cpu", "cpu.idle", "cpu.idle"), Need::CpuAccounting])
    .faults(&[in_fixture(NOT_IDLE)])
    .timing("weights 3 and 1024 give 0.3 %; a minimum slice now and then makes it at most a tenth"),
];

const NOT_IDLE: &str = "not idle";

const MORE_BURST: &str = "burst without a bound";

const NO_BURST: &str = "burst not written";

fn throttled(cell: &Cell) -> Result<u64, Trouble> {
    let told = cell.group().stats().throttled_ns;
    told.ok_or_else(|| Trouble::Harness("the group does not tell its throttled time".into()))
}

fn burst(kernel: &mut KernelFixture) -> Checked {
    const QUOTA: u64 = 20_000;
    let cell = kernel.cell("group")?;
    cell.limit_cpu(QUOTA, 100_000)?;
    if !kernel.has(NO_BURST) {
        let text = QUOTA.to_string();
        cell.set("cpu", ("cpu.cfs_burst_us", &text), ("cpu.max.burst", &text))?;
    }
    let mut probe = cell.probe()?;
    // Run time is saved in whole periods in which the group has a timer running, so it is used a little, then idle.
    let (mut stopped, mut charged) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let start = usage(&cell)?;
        probe.ask(cpu::burn(1000))?;
        // Each round begins at another place in the period: always at the same one, a stop could be short every time.
        std::thread::sleep(Duration::from_millis(250 + 13 * round));
        let before = throttled(&cell)?;
        probe.ask(cpu::burn(37000))?;
        let (stop, charge) = (as_f64(throttled(&cell)? - before) / 1e6, as_f64(usage(&cell)? - start) / 1e6);
        // What an emulator charges beyond the work is taken from what was saved, and then a stop of a period is rightful.
        if charge > 39.5 {
            continue;
        }
        stopped.push(stop);
        charged.push(charge);
        if stopped.len() == GOOD {
            break;
        }
    }
    kernel.seen.series("throttled time in 37 ms of work", "ms", stopped.clone());
    kernel.seen.series("charged for it and for 1 ms before", "ms", charged.clone());
    if stopped.len() < GOOD {
        return Err(Trouble::Noise(format!(
            "in {ROUNDS} rounds only {} were charged for their work alone",
            stopped.len()
        )));
    }
    stopped.sort_by(f64::total_cmp);
    // A quota of 20 ms and as much saved suffice for all of it. Without the burst it goes on in the next period, unless one ends
    // in its middle, which does not happen in every round; so the longest stop of several counts.
    kernel.seen.expect_in(
        "longest throttled time in 37 ms of work on a quota of 20 ms, in ms",
        stopped[GOOD - 1],
        0.0..=edge(1.0),
        "tick and slice",
        0.0,
    );
    bounded(kernel, &cell, &mut probe)
}

/// What is saved has a bound: more work than that is stopped.
fn bounded(kernel: &mut KernelFixture, cell: &Cell, probe: &mut Probe) -> Checked {
    if kernel.has(MORE_BURST) {
        cell.limit_cpu(100_000, 100_000)?;
    }
    std::thread::sleep(Duration::from_millis(250));
    let before = throttled(cell)?;
    let wall = as_f64(probe.ask(cpu::burn(120_000))?) / 1e3;
    // At most 20 saved, 20 of the period it begins in and 20 of the next leave three stops; the first may be cut short.
    let stop = as_f64(throttled(cell)? - before) / 1e6;
    // A group that gets too little CPU time to use up its quota is not throttled.
    if wall - stop > 120.0 + edge(2.0) && stop < 100.0 {
        return Err(Trouble::Noise(format!(
            "120 ms of work took {wall:.0} ms, of which {stop:.0} ms were the quota's"
        )));
    }
    kernel.seen.expect("throttled time in 120 ms of work, in ms", stop.round(), "100 or more", stop >= 100.0);
    Ok(())
}

/// Most rounds until enough are good.
const ROUNDS: u64 = 24;
const GOOD: usize = 8;

fn idle_yields(kernel: &mut KernelFixture) -> Checked {
    let (idle, normal) = (kernel.cell("idle")?, kernel.cell("normal")?);
    if !kernel.has(NOT_IDLE) {
        idle.set("cpu", ("cpu.idle", "1"), ("cpu.idle", "1"))?;
    }
    let mut probes = [idle.probe()?, normal.probe()?];
    for probe in &mut probes {
        probe.ask(cpu::spin(1))?;
    }
    std::thread::sleep(Duration::from_millis(100));
    let (before, other) = (usage(&idle)?, usage(&normal)?);
    std::thread::sleep(Duration::from_millis(500));
    let (idle_used, normal_used) = (as_f64(usage(&idle)? - before), as_f64(usage(&normal)? - other));
    let share = idle_used / (idle_used + normal_used).max(1.0) * 100.0;
    kernel.seen.expect_in(
        "the idle group's part of the CPU, in %",
        share,
        0.0..=10.0,
        "see the tolerance",
        0.0,
    );
    drop(probes);
    Ok(())
}
