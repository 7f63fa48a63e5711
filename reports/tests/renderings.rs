//! Every rendering of one stored record, as it was when somebody last looked at it. `UPDATE_SNAPSHOTS=1` regenerates them.

use std::fs;
use std::path::{Path, PathBuf};

use record::Run;
use record::bench::Bench;
use reports::bench;
use reports::{charts, difference, fleet, html, json, junit, kcidb, ktap, markdown, terminal};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn run() -> Run {
    json::read(&data("run.json")).unwrap()
}

fn same_as_before(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    let differs = before.lines().zip(text.lines()).position(|(was, is)| was != is);
    let line =
        |text: &str| differs.and_then(|line| text.lines().nth(line).map(str::to_owned)).unwrap_or_default();
    assert!(
        before == text,
        "{name} is not as it was, first in line {differs:?}:\nwas {}\nis  {}\nUPDATE_SNAPSHOTS=1 accepts it",
        line(&before),
        line(text)
    );
}

fn named(run: &Run) -> Vec<(String, &Run)> {
    vec![(String::new(), run)]
}

#[test]
fn the_table() {
    same_as_before("table.txt", &terminal::table(&run(), false));
}

#[test]
fn markdown_for_a_comment() {
    same_as_before("run.md", &markdown::markdown(&named(&run())));
}

#[test]
fn the_page() {
    same_as_before("run.html", &html::page(&run()));
}

#[test]
fn the_page_of_a_matrix() {
    let one = run();
    let mut other = run();
    other.outcomes.truncate(6);
    other.host.kernel = "5.10.0".into();
    let row = |name: &str, run: Option<Run>| {
        let mut row = record::matrix::Row::failed(name, "generic", "v2", String::new());
        row.accelerator = "tcg".into();
        row.run = run;
        row
    };
    let mut failed = row("6.12-v2", None);
    failed.failure = "the kernel panicked".into();
    let whole = record::matrix::Matrix {
        schema_version: 1,
        plimsoll: "0.1.0".into(),
        rows: vec![row("5.10-v1", Some(other)), row("6.18-v2", Some(one)), failed],
    };
    same_as_before("matrix.html", &html::matrix_page(&whole));
}

#[test]
fn ktap_follows_the_rules_of_the_kernels_parser() {
    let run = run();
    let text = ktap::ktap(&named(&run));
    same_as_before("run.ktap", &text);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("KTAP version 1"));
    assert_eq!(lines.next(), Some(format!("1..{}", run.outcomes.len()).as_str()));
    // A result line is `ok N name` or `not ok N name`, numbers go up by one, and all else is a diagnostic line.
    let mut number = 0;
    for line in lines.filter(|line| !line.starts_with("# ")) {
        let rest = line
            .strip_prefix("not ok ")
            .or_else(|| line.strip_prefix("ok "))
            .unwrap_or_else(|| panic!("{line}"));
        let (found, name) = rest.split_once(' ').unwrap();
        number += 1;
        assert_eq!(found.parse::<usize>().unwrap(), number, "{line}");
        let name = name.split(" # ").next().unwrap();
        assert!(!name.contains('#') && !name.is_empty(), "{line}");
        let directive = line.split(" # ").nth(1).unwrap_or_default();
        assert!(
            directive.is_empty() || directive.starts_with("SKIP") || directive.starts_with("ERROR"),
            "{line}"
        );
    }
    assert_eq!(number, run.outcomes.len());
}

#[test]
fn kcidb_has_a_test_for_each_verdict() {
    let run = run();
    let document = kcidb::kcidb(&named(&run));
    same_as_before("run.kcidb.json", &(serde_json::to_string_pretty(&document).unwrap() + "\n"));
    let document = serde_json::to_value(document).unwrap();
    let tests = document["tests"].as_array().unwrap();
    assert_eq!(tests.len(), run.outcomes.len());
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    assert!(tests.iter().all(|test| test["path"].as_str().unwrap().chars().all(plain)), "{tests:?}");
    assert!(tests.iter().all(|test| test["build_id"] == document["builds"][0]["id"]));
}

#[test]
fn junit_counts_what_it_holds() {
    let run = run();
    let text = junit::junit(&named(&run)).unwrap();
    same_as_before("run.xml", &text);
    let count = |what: &str| text.matches(what).count();
    assert_eq!(count("<testcase "), run.outcomes.len());
    let counts = run.counts();
    assert_eq!(count("<failure"), counts.fail);
    assert_eq!(count("<error"), counts.error);
    assert_eq!(count("<skipped"), counts.skip + counts.inconclusive);
    assert!(text.contains(&format!("tests=\"{}\"", run.outcomes.len())), "{}", &text[..300]);
}

#[test]
fn junit_is_as_the_common_schema_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.xml");
    fs::write(&path, junit::junit(&named(&run())).unwrap()).unwrap();
    let mut xmllint = std::process::Command::new("xmllint");
    let Ok(output) = xmllint.arg("--noout").arg("--schema").arg(data("junit-10.xsd")).arg(&path).output()
    else {
        eprintln!("skipped: there is no xmllint (apt-get install libxml2-utils)");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn charts_of_what_was_measured() {
    let drawn = charts::charts(&run());
    let names: Vec<&str> = drawn.iter().map(|chart| chart.name.as_str()).collect();
    assert_eq!(names, ["sweep-core", "throttling-core", "stalls-core"]);
    for chart in drawn {
        same_as_before(&format!("{}.svg", chart.name), &chart.svg);
    }
}

fn measured() -> Bench {
    json::read_bench(&data("bench.json")).unwrap()
}

#[test]
fn a_benchmark_as_a_table_a_page_and_charts() {
    same_as_before("bench.txt", &bench::table(&measured()));
    same_as_before("bench.html", &html::bench_page(&measured()));
    let drawn = charts::bench_charts(&measured());
    let names: Vec<&str> = drawn.iter().map(|chart| chart.name.as_str()).collect();
    assert_eq!(names, ["overhead", "starts", "latency", "layers", "crowd", "memory"]);
    for chart in drawn {
        same_as_before(&format!("bench-{}.svg", chart.name), &chart.svg);
    }
}

#[test]
fn a_difference_names_what_broke_first() {
    let before = run();
    let mut after = run();
    for outcome in &mut after.outcomes {
        if outcome.check == "cpu.quota.sweep" {
            outcome.verdict = record::Verdict::Fail;
            outcome.reason = "it got more".into();
        }
    }
    let changes = difference::difference(&before, &after);
    assert!(difference::is_worse(&changes));
    let text = difference::text(&before, &after, &changes);
    assert!(text.contains("broke (1)\n  cpu.quota.sweep (core): pass -> FAIL: it got more"), "{text}");
    assert!(!difference::is_worse(&difference::difference(&after, &before)));
    assert!(difference::text(&before, &before, &[]).contains("no verdict changed"));
}

#[test]
fn a_fleet_names_the_host_that_is_not_as_its_group_and_the_records_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for number in 0..40 {
        let mut host = run();
        if number == 17 {
            host.outcomes[0].verdict = record::Verdict::Fail;
        } else {
            host.outcomes[0].verdict = record::Verdict::Pass;
        }
        let path = dir.path().join(format!("host-{number}.json"));
        json::write(&host, &path).unwrap();
        paths.push(path);
    }
    let broken = dir.path().join("broken.json");
    fs::write(&broken, "{\"schema_version\": 1").unwrap();
    let newer = dir.path().join("newer.json");
    let text =
        fs::read_to_string(&paths[0]).unwrap().replacen("\"schema_version\": 1", "\"schema_version\": 99", 1);
    fs::write(&newer, text).unwrap();
    paths.extend([broken, newer]);
    let fleet = fleet::Fleet::read(&paths);
    let names: Vec<&String> = fleet.outliers.keys().collect();
    assert_eq!(names, ["host-17"]);
    assert_eq!(fleet.broken.len(), 2);
    let text = fleet.text();
    assert!(
        text.starts_with("40 hosts,")
            && text.contains("broken.json: EOF")
            && text.contains("schema_version 99"),
        "{text}"
    );
}

/// Two builds of one runtime: in one record as two subjects, or in two records under two names.
#[test]
fn two_builds_of_one_subject_are_compared() {
    let subject = |name: &str, version: &str| record::SubjectInfo {
        name: name.into(),
        path: format!("/opt/{name}"),
        version: version.into(),
    };
    let mut both = run();
    both.subjects = vec![subject("old", "1.0"), subject("new", "1.1")];
    let core: Vec<record::Outcome> =
        both.outcomes.iter().filter(|outcome| outcome.subject == "core").cloned().collect();
    both.outcomes.retain(|outcome| outcome.subject == "kernel");
    for name in ["old", "new"] {
        both.outcomes.extend(core.iter().cloned().map(|mut outcome| {
            outcome.subject = name.into();
            if name == "new" && outcome.check == "cpu.quota.sweep" {
                outcome.verdict = record::Verdict::Fail;
            }
            outcome
        }));
    }
    let pair = difference::Pair { before: "old".into(), after: "new".into() };
    let (before, after) = difference::paired(&both, &both, &pair).unwrap();
    let changes = difference::difference(&before, &after);
    assert_eq!(changes.len(), 1, "{changes:?}");
    let text = difference::text(&before, &after, &changes);
    assert!(text.contains("new: 1.0 (/opt/old) -> 1.1 (/opt/new)"), "{text}");
    assert!(text.contains("broke (1)\n  cpu.quota.sweep (old -> new): pass -> FAIL"), "{text}");
    // Each alone in a record of its own: there is one pair that can be meant.
    let only = |name: &str| {
        let mut run = both.clone();
        run.subjects.retain(|subject| subject.name == name);
        run.outcomes.retain(|outcome| outcome.subject == name || outcome.subject == "kernel");
        run
    };
    assert_eq!(difference::only_pair(&only("old"), &only("new")), Some(pair));
    assert_eq!(difference::only_pair(&only("old"), &only("old")), None);
    let wrong = difference::Pair { before: "old".into(), after: "none".into() };
    assert!(
        difference::paired(&both, &both, &wrong)
            .unwrap_err()
            .to_string()
            .contains("no outcomes of 'none'; it has old, new")
    );
}

/// A page is a page, for a fleet too.
#[test]
fn a_fleet_has_a_page_with_the_counts_of_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = ["a", "b"].map(|name| dir.path().join(format!("{name}.json"))).into();
    for path in &paths {
        json::write(&run(), path).unwrap();
    }
    let fleet = fleet::Fleet::read(&paths);
    let page = html::fleet_page(&fleet);
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("life.hooks (core)"));
    let counts = fleet.counts();
    let one = run().counts();
    assert_eq!((counts.pass, counts.fail, counts.skip), (2 * one.pass, 2 * one.fail, 2 * one.skip));
    for text in [page, fleet.text()] {
        assert!(text.contains(&counts.to_string()), "{text}");
    }
}

/// The command that a page tells must run: a runtime that was given as a path is found by its path.
#[test]
fn the_page_tells_a_command_that_runs() {
    let mut run = run();
    run.subjects =
        vec![record::SubjectInfo { name: "my".into(), path: "/opt/my run".into(), version: "1".into() }];
    run.outcomes.iter_mut().filter(|one| one.subject == "core").for_each(|one| one.subject = "my".into());
    let page = html::page(&run);
    assert!(page.contains("plimsoll check life.hooks --verbose --subject '/opt/my run'"), "{page}");
}

/// A record of an earlier version must always be readable.
#[test]
fn old_records_are_read() {
    let old = json::read(&data("run-0.1.0.json")).unwrap();
    assert_eq!((old.schema_version, old.outcomes.len()), (1, 3));
    assert!(old.outcomes[0].source.is_empty());
}
