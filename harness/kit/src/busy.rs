//! Whether this host has time for what is waited for.

use std::io;
use std::time::Duration;

/// With less than this, everybody waits for a CPU. One process that spins for ever leaves the other CPUs idle.
pub(crate) const LEAST_IDLE: f64 = 0.05;

/// For how long that is looked at: thirty ticks of the coarsest clock.
const LOOK: Duration = Duration::from_millis(300);

/// The part of the time of all CPUs that is idle, from now on for a moment. Source: proc_stat(5).
pub(crate) fn idle_share() -> io::Result<f64> {
    let (idle, all) = times()?;
    std::thread::sleep(LOOK);
    let (idle_later, all_later) = times()?;
    let passed = (all_later - all).max(1.0);
    Ok((idle_later - idle) / passed)
}

/// Idle time and all time of all CPUs together, in hundredths of a second.
fn times() -> io::Result<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> =
        line.split_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    match fields.get(3..5) {
        Some(idle) if fields.len() == 8 => Ok((idle.iter().sum(), fields.iter().sum())),
        _ => Err(io::Error::other(format!("/proc/stat begins with '{line}'"))),
    }
}
