//! What things cost, side by side: the record of a benchmark and its table.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::Host;

/// One session of paired measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bench {
    /// Version of this form, see [`crate::record::SCHEMA_VERSION`].
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
    /// One for each thing measured.
    pub rows: Vec<Measured>,
}

/// One thing, measured on all sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// What was measured.
    pub name: String,
    /// Unit of the medians.
    pub unit: String,
    /// How much the base differs from itself, as a part of 1: what lies below is no difference.
    pub floor: f64,
    /// The base first.
    pub sides: Vec<Side>,
}

/// One side of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// Median of the rounds.
    pub median: f64,
    /// Least of the rounds.
    pub least: f64,
    /// Number of rounds.
    pub rounds: usize,
    /// Rounds that lie far outside of the others; they are counted, and kept.
    pub outliers: usize,
    /// Median of the ratios to the base within each round, and its interval of 95 %; absent for the base.
    pub ratio: Option<Ratio>,
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

impl Ratio {
    /// Whether it differs from 1 by more than the floor, with an interval that leaves 1 out.
    pub fn differs(&self, floor: f64) -> bool {
        let outside = self.low > 1.0 || self.high < 1.0;
        outside && (self.median - 1.0).abs() > floor
    }
}

/// The table: medians, and ratios where there is a difference.
pub fn table(bench: &Bench) -> String {
    let mut text = format!(
        "Linux {} {}, cgroup {}, {} CPUs; ratios to {}\n",
        bench.host.kernel, bench.host.architecture, bench.host.cgroup_mode, bench.host.cpus, bench.base
    );
    let width = bench.rows.iter().map(|row| row.name.len()).max().unwrap_or(4);
    for row in &bench.rows {
        let _ = writeln!(text, "\n{:width$}  floor {:.1} %", row.name, row.floor * 100.0);
        for side in &row.sides {
            if !side.missing.is_empty() {
                let _ = writeln!(text, "  {:14} not measured: {}", side.name, side.missing);
                continue;
            }
            let _ = write!(text, "  {:14} {:>12.1} {:3}", side.name, side.median, row.unit);
            if let Some(ratio) = side.ratio {
                if ratio.differs(row.floor) {
                    let _ = write!(text, "  x {:.3} [{:.3}, {:.3}]", ratio.median, ratio.low, ratio.high);
                } else {
                    let bound = (ratio.high - 1.0).abs().max((ratio.low - 1.0).abs()).max(row.floor);
                    let _ = write!(text, "  no difference seen (below {:.1} %)", bound * 100.0);
                }
            }
            if side.outliers > 0 {
                let _ = write!(text, "  ({} of {} rounds far off)", side.outliers, side.rounds);
            }
            text.push('\n');
        }
    }
    text
}

/// What got slower against an earlier session, beyond both floors: name, side, and ratio of the medians' ratios.
pub fn slower(before: &Bench, after: &Bench) -> Vec<(String, String, f64)> {
    let mut worse = Vec::new();
    for row in &after.rows {
        let Some(old) = before.rows.iter().find(|old| old.name == row.name) else { continue };
        for side in &row.sides {
            let Some(was) = old.sides.iter().find(|was| was.name == side.name) else { continue };
            let (Some(is), Some(was)) = (side.ratio, was.ratio) else { continue };
            // Ratios to the base of their own session: machines and days may differ.
            if is.low > was.high && is.median / was.median - 1.0 > row.floor.max(old.floor) {
                worse.push((row.name.clone(), side.name.clone(), is.median / was.median));
            }
        }
    }
    worse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_the_floor_or_the_interval_is_no_difference() {
        let ratio = |median, low, high| Ratio { median, low, high };
        assert!(ratio(1.3, 1.2, 1.4).differs(0.02));
        assert!(!ratio(1.01, 1.005, 1.02).differs(0.02));
        assert!(!ratio(1.3, 0.9, 1.6).differs(0.02));
        assert!(ratio(0.8, 0.7, 0.9).differs(0.02));
    }
}
