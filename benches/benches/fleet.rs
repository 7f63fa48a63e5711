//! The report of a fleet: 10,000 records of 200 verdicts each, with their evidence. Prints what it took.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use reports::fleet::Fleet;
use serde_json::{Value, json};

const HOSTS: usize = 10_000;
const VERDICTS: usize = 200;

fn main() {
    // `cargo test --benches` asks only whether it starts.
    let hosts = if std::env::args().any(|word| word == "--bench") { HOSTS } else { 10 };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let paths: Vec<PathBuf> = (0..hosts).map(|number| record(dir.path(), number)).collect();
    let bytes: u64 = paths.iter().filter_map(|path| path.metadata().ok()).map(|data| data.len()).sum();
    let start = Instant::now();
    let fleet = Fleet::read(&paths);
    let text = fleet.text();
    let took = start.elapsed();
    assert_eq!((fleet.verdicts, fleet.broken.len()), (hosts * VERDICTS, 0));
    let memory = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss() / 1024);
    println!(
        "{hosts} records, {} verdicts, {} MiB: {:.1} s, at most {memory} MiB of memory, a report of {} lines",
        fleet.verdicts,
        bytes >> 20,
        took.as_secs_f64(),
        text.lines().count()
    );
}

/// The stored record, with as many outcomes as a whole run has, and a kernel, a layout and failures of its own.
fn record(dir: &Path, number: usize) -> PathBuf {
    const STORED: &str = include_str!("../../reports/tests/data/run.json");
    let mut record: Value = serde_json::from_str(STORED).expect("a record");
    record["host"]["kernel"] = json!(format!("6.{}", number % 7));
    record["host"]["cgroup_mode"] = json!(["v1", "v2", "hybrid"][number % 3]);
    let stored = record["outcomes"].as_array().expect("outcomes").clone();
    let outcomes = stored.iter().cycle().take(VERDICTS).enumerate().map(|(row, outcome)| {
        let mut outcome = outcome.clone();
        outcome["check"] = json!(format!("area{}.check{row}", row % 9));
        outcome["fault"] = Value::Null;
        outcome["verdict"] = json!(if (number * 31 + row).is_multiple_of(997) { "fail" } else { "pass" });
        outcome
    });
    record["outcomes"] = outcomes.collect();
    let path = dir.join(format!("host{number}.json"));
    std::fs::write(&path, record.to_string()).expect("writing a record");
    path
}
