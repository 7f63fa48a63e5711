//! What a group's controllers counted, in one shape for both versions.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counters of a group. A field is `None` where no mounted controller counts it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// CPU time used, in nanoseconds.
    pub cpu_usage_ns: Option<u64>,
    /// Periods in which the group had runnable tasks.
    pub nr_periods: Option<u64>,
    /// Periods in which it used up its quota.
    pub nr_throttled: Option<u64>,
    /// Time that its run queues stood throttled, summed over CPUs, in nanoseconds.
    pub throttled_ns: Option<u64>,
    /// The part of it in the kernel.
    pub cpu_kernel_ns: Option<u64>,
    /// The part of it in programs.
    pub cpu_user_ns: Option<u64>,
    /// Most memory that may be charged, in bytes; absent where there is no limit.
    pub memory_limit: Option<u64>,
    /// How often that limit was met.
    pub memory_refused: Option<u64>,
    /// What the memory is used for: `memory.stat`.
    pub memory_detail: BTreeMap<String, u64>,
    /// Most tasks; absent where there is no limit.
    pub pids_limit: Option<u64>,
    /// Memory charged, in bytes.
    pub memory_usage: Option<u64>,
    /// The most that was ever charged, in bytes.
    pub memory_peak: Option<u64>,
    /// Processes that the OOM killer ended.
    pub oom_kills: Option<u64>,
    /// Tasks alive.
    pub pids_current: Option<u64>,
    /// Forks that were refused.
    pub pids_refused: Option<u64>,
}
