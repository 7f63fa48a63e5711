//! Verbs that use the CPU, and see when they do not get it.

use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{Answer, told};

/// Starts threads that are busy until the process ends, all on the first CPU that it may use: moving from one CPU
/// to another would let a group's time be throttled on both at once.
pub(super) fn spin(count: &str) -> Answer {
    let count: u32 = told("count", count.parse())?;
    let cpu = pin_to_first_cpu()?;
    for _ in 0..count {
        std::thread::spawn(busy);
    }
    Ok(json!(cpu))
}

/// Starts threads that are busy until the process ends, wherever the scheduler puts them.
pub(super) fn spin_anywhere(count: &str) -> Answer {
    let count: u32 = told("count", count.parse())?;
    (0..count).for_each(|_| drop(std::thread::spawn(busy)));
    Ok(json!(count))
}

fn busy() {
    let mut value = 0_u64;
    loop {
        value = std::hint::black_box(value.wrapping_add(1));
    }
}

/// Starts threads that are busy for a while, then sleep, for ever.
pub(super) fn pulse(count: &str, on_micros: &str, off_micros: &str) -> Answer {
    let count: u32 = told("count", count.parse())?;
    let on = Duration::from_micros(told("microseconds", on_micros.parse())?);
    let off = Duration::from_micros(told("microseconds", off_micros.parse())?);
    for _ in 0..count {
        std::thread::spawn(move || {
            loop {
                burn_for(on);
                std::thread::sleep(off);
            }
        });
    }
    Ok(json!(count))
}

/// CPU time of the calling thread.
pub(super) fn own_cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}

fn burn_for(time: Duration) {
    let end = own_cpu_time() + time;
    while own_cpu_time() < end {
        std::hint::black_box(0);
    }
}

/// Uses so much CPU time, and returns how long that took, in microseconds.
pub(super) fn burn(micros: &str) -> Answer {
    let time = Duration::from_micros(told("microseconds", micros.parse())?);
    let start = Instant::now();
    burn_for(time);
    Ok(json!(start.elapsed().as_micros() as u64))
}

/// From now on this process runs on one CPU alone.
pub(super) fn pin(cpu: &str) -> Answer {
    let mut set = CpuSet::new();
    told("cpu", told("cpu", cpu.parse()).and_then(|cpu: usize| told("cpu", set.set(cpu))))?;
    told("sched_setaffinity", sched_setaffinity(Pid::from_raw(0), &set)).map(|()| Value::Null)
}

/// The CPUs that this process may use, and those on which its threads were last seen.
pub(super) fn affinity() -> Answer {
    let allowed = told("sched_getaffinity", sched_getaffinity(Pid::from_raw(0)))?;
    let allowed: Vec<usize> =
        (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
    let mut seen = std::collections::BTreeSet::new();
    for task in told("tasks", std::fs::read_dir("/proc/self/task"))?.flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The 39th field is the processor; the second may hold spaces.
        let field =
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(36)?.parse::<usize>().ok());
        seen.extend(field);
    }
    Ok(json!({ "allowed": allowed, "seen": seen }))
}

static LATEST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Sleeps for a millisecond at a time from now on, and remembers the longest delay.
pub(super) fn sample_lateness() -> Answer {
    LATEST.store(0, std::sync::atomic::Ordering::Relaxed);
    std::thread::spawn(|| {
        let nap = Duration::from_millis(1);
        loop {
            let start = Instant::now();
            std::thread::sleep(nap);
            let late = start.elapsed().saturating_sub(nap).as_micros() as u64;
            LATEST.fetch_max(late, std::sync::atomic::Ordering::Relaxed);
        }
    });
    Ok(Value::Null)
}

/// The longest delay since then, in microseconds.
pub(super) fn lateness() -> Answer {
    Ok(json!(LATEST.load(std::sync::atomic::Ordering::Relaxed)))
}

/// Is busy for a while and returns every stall of at least `shortest` microseconds as its start and its length.
pub(super) fn gaps(millis: &str, shortest: &str) -> Answer {
    let millis: u64 = told("milliseconds", millis.parse())?;
    let shortest = Duration::from_micros(told("microseconds", shortest.parse())?);
    pin_to_first_cpu()?;
    let start = Instant::now();
    let end = start + Duration::from_millis(millis);
    let mut stalls: Vec<Value> = Vec::new();
    let mut last = start;
    while last < end {
        let now = Instant::now();
        let gap = now - last;
        if gap >= shortest {
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
