//! What tolerances are derived from, and the control that runs beside a measurement.

use std::time::Duration;

use probe::verbs::cpu::{self, Stall};

use crate::probes::Probe;
use crate::trouble::Trouble;

/// The clock tick: the kernel notices at the next one that a quota is used up.
///
/// Source: `CLOCK_MONOTONIC_COARSE` advances once a tick, clock_getres(2).
pub fn tick() -> Duration {
    let resolution = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE);
    // The coarsest in use, CONFIG_HZ=100.
    resolution.map_or(Duration::from_millis(10), Duration::from)
}

/// How much of a quota a CPU takes from its group at a time, and may keep when the group runs elsewhere.
///
/// Source: `Documentation/scheduler/sched-bwc.rst`, `sched_cfs_bandwidth_slice_us`.
pub fn slice() -> Duration {
    let text = std::fs::read_to_string("/proc/sys/kernel/sched_cfs_bandwidth_slice_us").unwrap_or_default();
    Duration::from_micros(text.trim().parse().unwrap_or(5_000))
}

/// A process that does nothing but sleep for a millisecond at a time, beside a measurement. How late it wakes up says
/// how long this machine withholds a CPU from somebody who is entitled to it, for reasons that are not the subject's.
#[derive(Debug)]
pub struct Control(Probe);

impl Control {
    /// Begins to watch.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn begin() -> Result<Self, Trouble> {
        let mut probe = Probe::start(&std::env::var(crate::run::RUN_VARIABLE).unwrap_or_default())?;
        probe.ask(cpu::sample_lateness())?;
        Ok(Self(probe))
    }

    /// The longest delay since then.
    ///
    /// # Errors
    /// The process is gone.
    pub fn end(mut self) -> Result<Duration, Trouble> {
        Ok(Duration::from_micros(self.0.ask(cpu::lateness())?))
    }
}

/// What a group has counted: a counter that is missing is trouble, and never 0.
///
/// # Errors
/// The kernel counts no such thing.
pub fn counted(counter: Option<u64>, what: &str) -> Result<u64, Trouble> {
    counter.ok_or_else(|| Trouble::Harness(format!("{what} is not counted here")))
}

/// Milliseconds of a duration.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A whole number as a float: counts, nanoseconds and bytes of checks are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn as_f64(number: u64) -> f64 {
    number as f64
}

/// The stalls that the probe's `gaps` saw: the start and the length of each, in milliseconds.
///
/// A throttled group may get a moment in between, from quota that another CPU gives back. What is shorter than the least
/// that the kernel hands out does not end a stall. Source: Documentation/scheduler/sched-bwc.rst (slack).
pub fn stalls(seen: &[Stall]) -> Vec<(f64, f64)> {
    let mut stalls: Vec<(f64, f64)> = Vec::new();
    for stall in seen {
        let (start, length) = (as_f64(stall.start) / 1e3, as_f64(stall.length) / 1e3);
        match stalls.last_mut() {
            Some((first, whole)) if start - (*first + *whole) < LEAST_RUN_MS => {
                *whole = start + length - *first;
            }
            _ => stalls.push((start, length)),
        }
    }
    stalls
}

/// The kernel gives back no less than this (`min_cfs_rq_runtime`).
const LEAST_RUN_MS: f64 = 1.0;

/// From the end of each stall to that of the next: there the kernel hands out a new quota, so these are the periods.
pub fn periods(stalls: &[(f64, f64)]) -> Vec<f64> {
    let ends: Vec<f64> = stalls.iter().map(|(start, length)| start + length).collect();
    ends.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Time that a CPU was not idle, in ms. Source: proc_stat(5); counted in hundredths of a second.
///
/// # Errors
/// /proc is not mounted.
pub fn busy_time(cpu: usize) -> Result<f64, Trouble> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{cpu} ")));
    let line = line.ok_or_else(|| Trouble::Harness(format!("/proc/stat has no line of CPU {cpu}")))?;
    let fields: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
    let fields = fields.map_err(|error| Trouble::Harness(format!("/proc/stat: '{line}': {error}")))?;
    // user nice system idle iowait irq softirq steal
    Ok(fields
        .iter()
        .take(8)
        .enumerate()
        .filter(|(place, _)| *place != 3 && *place != 4)
        .map(|(_, ticks)| ticks * 10.0)
        .sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_running_does_not_end_a_stall() {
        let seen = [(378_850, 83_780), (474_780, 12_090), (486_880, 75_680)];
        let found = stalls(&seen.map(|(start, length)| Stall { start, length }));
        assert_eq!(found.len(), 2);
        assert!((found[1].1 - 87.78).abs() < 1e-6, "{found:?}");
    }
}
