//! What things cost, side by side: the record of a benchmark.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::run::Host;
#[cfg(doc)]
use crate::run::SCHEMA_VERSION;

/// One session of paired measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bench {
    /// Version of this form, see [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of Plimsoll.
    pub plimsoll: String,
    /// When it started, by RFC 3339.
    pub started: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Where it ran.
    pub host: Host,
    /// The side that the others are compared with.
    pub base: String,
    /// What decides how fast the CPUs run, by `cpufreq`; empty where the kernel does not tell, as in most virtual machines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub governor: String,
    /// One for each thing measured.
    pub rows: Vec<Measured>,
    /// What a quota does to work, one for each quota, period and number of threads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttled: Vec<Throttled>,
    /// What was wanted and could not be measured, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// One thing, measured on all sides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// What was measured.
    pub name: String,
    /// Unit of the medians.
    pub unit: String,
    /// How much the base differs from itself, as a part of 1: what lies below is no difference.
    pub floor: f64,
    /// Time that the hypervisor took from this machine meanwhile, in milliseconds of all CPUs.
    pub steal_ms: u64,
    /// Time in which some task waited for a CPU meanwhile, in milliseconds; absent where the kernel does not count it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_ms: Option<u64>,
    /// Rounds in which the hypervisor took time, or tasks waited for a CPU for longer than in the others: they are in no figure.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub set_apart: usize,
    /// Least and largest frequency of a CPU when it was over, in MHz; absent where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mhz: Option<[u32; 2]>,
    /// The base first, then the base again, which sets the floor, and once more, which is judged as any other side: with it the
    /// method itself is tried.
    pub sides: Vec<Side>,
}

/// One side of a measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// What must be known of it, such as that it is emulated; empty if nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Median of the rounds.
    pub median: f64,
    /// Lower end of the median's interval of 95 %.
    pub low: f64,
    /// Upper end of the median's interval of 95 %.
    pub high: f64,
    /// Least of the rounds.
    pub least: f64,
    /// Number of rounds.
    pub rounds: usize,
    /// Part of 1 in which intervals of so many rounds hold the true median: less than 0.95 for fewer than 6. Absent in older
    /// records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// Rounds that lie far outside of the others; they are counted, and kept.
    pub outliers: usize,
    /// Median of the ratios to the base within each round, and its interval of 95 %; absent for the base, and for what cannot
    /// be compared with it.
    pub ratio: Option<Ratio>,
    /// Part of the rounds in which it was dearer than the base, less the part in which it was cheaper: from -1 to 1.
    #[serde(default)]
    pub effect: f64,
    /// Why it was not measured; empty if it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub missing: String,
}

/// A ratio with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// Median.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Two sides whose ratio lies within this part of 1, with its whole interval, are said to cost the same.
pub const EQUIVALENT: f64 = 0.05;

/// What a ratio says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The two differ.
    Different,
    /// They are the same within [`EQUIVALENT`].
    Same,
    /// The interval is too wide for either.
    Undecided,
}

impl Ratio {
    /// Which of the three it is. Two sides are the same by a test of its own, with a bound: that no difference was seen is no
    /// reason to say that there is none.
    pub fn finding(&self, floor: f64) -> Finding {
        if self.differs(floor) {
            Finding::Different
        } else if floor <= EQUIVALENT && self.low >= 1.0 / (1.0 + EQUIVALENT) && self.high <= 1.0 + EQUIVALENT
        {
            Finding::Same
        } else {
            Finding::Undecided
        }
    }

    /// Whether it differs from 1 by more than the floor, with an interval that leaves 1 out.
    pub fn differs(&self, floor: f64) -> bool {
        self.leaves_one_out() && (self.median - 1.0).abs() > floor
    }

    /// Whether 1, which is no difference, lies outside of its interval.
    pub fn leaves_one_out(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// Latencies of equal items of work under a quota. Source: Documentation/scheduler/sched-bwc.rst.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Throttled {
    /// The quota, in percent of one CPU.
    pub quota_percent: u32,
    /// The period, in microseconds.
    pub period_us: u64,
    /// What may be saved up, in microseconds.
    pub burst_us: u64,
    /// Threads that work.
    pub threads: u32,
    /// CPU time of an item, in microseconds.
    pub item_us: u64,
    /// Items arrive at random and need this part of the quota, in percent, whether those before them are done or not; absent where
    /// each begins when the last one is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_percent: Option<u32>,
    /// Times that it was measured; of the latencies the medians are told. 0 in older records, which have one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeats: usize,
    /// Least and largest of the repeats' latencies that 99 % do not exceed, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_between_us: Option<[u64; 2]>,
    /// Items done.
    pub items: u64,
    /// Latency that half of the items do not exceed, in microseconds.
    pub p50_us: u64,
    /// That 90 % do not exceed.
    pub p90_us: u64,
    /// That 99 % do not exceed.
    pub p99_us: u64,
    /// That 99.9 % do not exceed.
    pub p999_us: u64,
    /// The longest of all.
    pub longest_us: u64,
    /// Periods in which the group was throttled, and all in which it had something to do.
    pub throttled_periods: (u64, u64),
}

/// The base, the base again, and the base once more.
pub const BASES: usize = 3;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
