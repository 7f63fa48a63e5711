//! The CPU: what uses it, and what sees when it does not get it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::ask::{Act, verbs};
use crate::clock::burn_for;
use crate::failure::{Doing, Done, Failure};

verbs! {
    /// The CPU.
    Cpu {
        /// Starts threads that are busy until the process ends, all on the first CPU that it may use, and tells which that is:
        /// moving from one CPU to another would let a group's time be throttled on both at once.
        "spin" spin: Spin { count: u32 } -> usize;
        /// Starts threads that are busy until the process ends, wherever the scheduler puts them.
        "spin-anywhere" spin_anywhere: SpinAnywhere { count: u32 } -> ();
        /// Starts threads that are busy for so many microseconds, then sleep for so many, for ever.
        "pulse" pulse: Pulse { count: u32, on: u64, off: u64 } -> ();
        /// Uses so many microseconds of CPU time, and tells how long that took, in microseconds.
        "burn" burn: Burn { micros: u64 } -> u64;
        /// From now on this process runs on one CPU alone.
        "pin" pin: Pin { cpu: usize } -> ();
        /// The CPUs that this process may use, and those on which its threads were last seen.
        "affinity" affinity: GetAffinity {} -> Affinity;
        /// Sleeps for a millisecond at a time from now on, and remembers the longest delay.
        "sample-lateness" sample_lateness: SampleLateness {} -> ();
        /// The longest delay since then, in microseconds.
        "lateness" lateness: Lateness {} -> u64;
        /// Is busy for so many milliseconds and returns every stall of at least `shortest` microseconds.
        "gaps" gaps: Gaps { millis: u64, shortest: u64 } -> Vec<Stall>;
    }
}

/// CPUs of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// Those that it may use.
    pub allowed: BTreeSet<usize>,
    /// Those on which its threads were last seen.
    pub seen: BTreeSet<usize>,
}

/// A time in which a busy process did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// When it began, in microseconds.
    pub start: u64,
    /// How long it lasted, in microseconds.
    pub length: u64,
}

fn busy() {
    let mut value = 0_u64;
    loop {
        value = std::hint::black_box(value.wrapping_add(1));
    }
}

fn allowed() -> Done<CpuSet> {
    sched_getaffinity(Pid::from_raw(0)).doing("sched_getaffinity")
}

fn pin_to(cpu: usize) -> Done<()> {
    let mut one = CpuSet::new();
    one.set(cpu).doing(format_args!("cpu {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &one).doing("sched_setaffinity")
}

fn pin_to_first_cpu() -> Done<usize> {
    let allowed = allowed()?;
    let cpu = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let cpu = cpu.ok_or_else(|| Failure::new("no CPU is allowed"))?;
    pin_to(cpu)?;
    Ok(cpu)
}

impl Act for Spin {
    fn act(self) -> Done<usize> {
        let cpu = pin_to_first_cpu()?;
        (0..self.count).for_each(|_| drop(std::thread::spawn(busy)));
        Ok(cpu)
    }
}

impl Act for SpinAnywhere {
    fn act(self) -> Done<()> {
        (0..self.count).for_each(|_| drop(std::thread::spawn(busy)));
        Ok(())
    }
}

impl Act for Pulse {
    fn act(self) -> Done<()> {
        let (on, off) = (Duration::from_micros(self.on), Duration::from_micros(self.off));
        for _ in 0..self.count {
            std::thread::spawn(move || {
                loop {
                    burn_for(on);
                    std::thread::sleep(off);
                }
            });
        }
        Ok(())
    }
}

impl Act for Burn {
    fn act(self) -> Done<u64> {
        let start = Instant::now();
        burn_for(Duration::from_micros(self.micros));
        Ok(start.elapsed().as_micros() as u64)
    }
}

impl Act for Pin {
    fn act(self) -> Done<()> {
        pin_to(self.cpu)
    }
}

impl Act for GetAffinity {
    fn act(self) -> Done<Affinity> {
        let mask = allowed()?;
        let allowed = (0..CpuSet::count()).filter(|cpu| mask.is_set(*cpu).unwrap_or(false)).collect();
        let mut seen = BTreeSet::new();
        for task in std::fs::read_dir("/proc/self/task").doing("tasks")?.flatten() {
            // A thread may have ended meanwhile.
            let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
            // The 39th field is the processor; the second may hold spaces. Source: proc_pid_stat(5).
            let field = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(36)?.parse().ok());
            seen.insert(field.ok_or_else(|| Failure::new(format!("stat tells no processor: {stat}")))?);
        }
        Ok(Affinity { allowed, seen })
    }
}

static LATEST: AtomicU64 = AtomicU64::new(0);

impl Act for SampleLateness {
    fn act(self) -> Done<()> {
        LATEST.store(0, Ordering::Relaxed);
        std::thread::spawn(|| {
            let nap = Duration::from_millis(1);
            loop {
                let start = Instant::now();
                std::thread::sleep(nap);
                let late = start.elapsed().saturating_sub(nap).as_micros() as u64;
                LATEST.fetch_max(late, Ordering::Relaxed);
            }
        });
        Ok(())
    }
}

impl Act for Lateness {
    fn act(self) -> Done<u64> {
        Ok(LATEST.load(Ordering::Relaxed))
    }
}

impl Act for Gaps {
    fn act(self) -> Done<Vec<Stall>> {
        let shortest = Duration::from_micros(self.shortest);
        pin_to_first_cpu()?;
        let start = Instant::now();
        let end = start + Duration::from_millis(self.millis);
        let mut stalls = Vec::new();
        let mut last = start;
        while last < end {
            let now = Instant::now();
            let gap = now - last;
            if gap >= shortest {
                let (start, length) = ((last - start).as_micros() as u64, gap.as_micros() as u64);
                stalls.push(Stall { start, length });
            }
            last = now;
        }
        Ok(stalls)
    }
}
