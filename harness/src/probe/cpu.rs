//! Verbs that use the CPU, and see when they do not get it.

use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{Answer, told};

/// A pause shorter than this is the work of interrupts and neighbours, not of a quota; the shortest period of which
/// the catalogue measures the shape is ten times as long.
const STALL: Duration = Duration::from_millis(10);

/// Starts threads that are busy until the process ends, all on the first CPU that it may use: moving from one CPU
/// to another would let a group's time be throttled on both at once.
pub(super) fn spin(count: &str) -> Answer {
    let count: u32 = told("count", count.parse())?;
    let cpu = pin_to_first_cpu()?;
    for _ in 0..count {
        std::thread::spawn(|| {
            let mut value = 0_u64;
            loop {
                value = std::hint::black_box(value.wrapping_add(1));
            }
        });
    }
    Ok(json!(cpu))
}

/// Is busy for a while and returns every stall as its start and its length, in microseconds.
pub(super) fn gaps(millis: &str) -> Answer {
    let millis: u64 = told("milliseconds", millis.parse())?;
    pin_to_first_cpu()?;
    let start = Instant::now();
    let end = start + Duration::from_millis(millis);
    let mut stalls: Vec<Value> = Vec::new();
    let mut last = start;
    while last < end {
        let now = Instant::now();
        let gap = now - last;
        if gap >= STALL {
            stalls.push(json!([(last - start).as_micros() as u64, gap.as_micros() as u64]));
        }
        last = now;
    }
    Ok(json!(stalls))
}

fn pin_to_first_cpu() -> Result<usize, String> {
    let own = Pid::from_raw(0);
    let allowed = told("sched_getaffinity", sched_getaffinity(own))?;
    let cpu =
        (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).ok_or("no CPU is allowed")?;
    let mut one = CpuSet::new();
    told("cpu set", one.set(cpu))?;
    told("sched_setaffinity", sched_setaffinity(own, &one))?;
    Ok(cpu)
}
