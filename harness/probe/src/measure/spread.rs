//! The spread of latencies.

use serde::{Deserialize, Serialize};

/// Latencies of equal items of work, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// How many items were done.
    pub items: u64,
    /// Latency that half of them do not exceed.
    pub p50: u64,
    /// That 90 % do not exceed.
    pub p90: u64,
    /// That 99 % do not exceed.
    pub p99: u64,
    /// That 99.9 % do not exceed.
    pub p999: u64,
    /// The longest.
    pub longest: u64,
}
