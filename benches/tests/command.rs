//! The command itself, on this machine.

use std::path::Path;
use std::process::{Command, Output};

use record::bench::{BASES, Bench};
use reports::json;

fn bench(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll-bench")).args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A quick session that must succeed, and its record; `None` without privilege.
fn session(dir: &Path, words: &[&str]) -> Option<(Bench, String)> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: it needs root");
        return None;
    }
    let record = dir.join("record.json").display().to_string();
    let output = bench(&[&["--quick", "--side", "core", "--save", &record], words].concat());
    assert!(output.status.success(), "{}", said(&output));
    Some((json::read_bench(Path::new(&record)).unwrap(), said(&output)))
}

fn names(bench: &Bench, row: usize) -> Vec<&str> {
    bench.rows[row].sides.iter().map(|side| side.name.as_str()).collect()
}

#[test]
fn a_session_has_the_base_three_times_and_can_be_compared_with() {
    let dir = tempfile::tempdir().unwrap();
    let Some((first, table)) = session(dir.path(), &["getpid"]) else { return };
    assert_eq!(names(&first, 0), ["host", "host again", "host once more", "core"]);
    assert!(first.rows[0].sides.iter().all(|side| side.median > 1.0 && side.low <= side.high), "{first:?}");
    assert!(first.rows[0].sides[BASES].ratio.is_some());
    assert!(table.contains("the method, tried on the base itself"), "{table}");
    let record = dir.path().join("record.json").display().to_string();
    let again = bench(&["--quick", "--side", "core", "--against", &record, "getpid"]);
    assert!(matches!(again.status.code(), Some(0 | 1)), "{}", said(&again));
    let told = said(&again);
    assert!(told.contains(" of 1\n") && told.contains("1 sides judged"), "{told}");
}

#[test]
fn a_start_lies_above_the_floor_and_a_life_has_steps() {
    let dir = tempfile::tempdir().unwrap();
    let Some((found, _)) = session(dir.path(), &["start-hot", "create", "pause-resume"]) else { return };
    let row = |name: &str| found.rows.iter().position(|row| row.name == name).unwrap();
    assert_eq!(
        names(&found, row("start-hot")),
        ["floor with groups", "floor with groups again", "floor with groups once more", "floor", "core"]
    );
    let start = &found.rows[row("start-hot")];
    assert!(start.sides.iter().all(|side| side.missing.is_empty()), "{start:?}");
    // The fastest of each: while other tests run, eight rounds say little of the rest.
    assert!(start.sides[4].least > start.sides[0].least, "{start:?}");
    assert!(found.rows[row("pause-resume")].sides[0].median > 0.0);
}

#[test]
fn what_a_quota_does_is_seen_in_the_latencies() {
    let dir = tempfile::tempdir().unwrap();
    let Some((found, _)) = session(dir.path(), &["throttle"]) else { return };
    let one = found
        .throttled
        .iter()
        .find(|row| row.threads == 1 && row.burst_us == 0 && row.load_percent.is_none())
        .unwrap();
    // 20 ms of each 100: most items are not stopped, and the longest of them waits for most of a period.
    assert!(one.p50_us < 20_000 && one.longest_us > 40_000, "{one:?}");
    assert!(one.throttled_periods.0 >= 2, "{one:?}");
}

#[test]
fn a_hundred_live_containers_are_started_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let Some((found, _)) = session(dir.path(), &["crowd"]) else { return };
    let row = |name: &str| found.rows.iter().position(|row| row.name == name).unwrap();
    assert_eq!(names(&found, row("start-among-many")), ["1 live", "10 live", "100 live"]);
    assert_eq!(found.rows[row("delete-among-many")].sides[0].rounds, 100);
}

#[test]
fn what_nobody_measures_is_told() {
    let output = bench(&["no-such-thing"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("nothing is called no-such-thing; --list shows what is"),
        "{}",
        said(&output)
    );
    let listed = bench(&["--list"]);
    assert!(listed.status.success() && said(&listed).lines().count() > 40);
}
