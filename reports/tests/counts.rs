//! Every form of a report shows every row and every verdict: the counts are the same in all of them, for any record.

use std::collections::BTreeSet;

use proptest::prelude::*;
use record::matrix::{Matrix, Row};
use record::{
    Counts, Evidence, Expectation, Host, Outcome, Run, SCHEMA_VERSION, Scope, SubjectInfo, Verdict,
};
use reports::{github, html, json, junit, kcidb, ktap, markdown, matrix, openmetrics, sarif, terminal};
use serde_json::Value;

/// Texts of a record may come from anybody.
fn text() -> impl Strategy<Value = String> {
    let parts = [
        "<failure",
        "</script>",
        "| a |",
        "not ok 1",
        "\n",
        "# SKIP",
        "`",
        "\"",
        "&",
        "\u{1b}[31m",
        "ok",
        "\\",
        "ü",
        "'",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 0..4).prop_map(|parts| parts.join(" "))
}

fn verdict() -> impl Strategy<Value = Verdict> {
    use Verdict::{Error, Fail, Inconclusive, Pass, Skip};
    prop::sample::select(vec![Pass, Fail, Skip, Inconclusive, Error])
}

/// An outcome, with a number that makes its name its own.
fn outcome(number: usize) -> impl Strategy<Value = Outcome> {
    let area = prop::sample::select(vec!["ns", "cpu", "net"]);
    let subject = prop::sample::select(vec!["core", "runc", "kernel"]);
    (area, subject, verdict(), prop::option::of(text()), any::<bool>(), text(), text()).prop_map(
        move |(area, subject, verdict, fault, holds, reason, name)| {
            let expectation = Expectation {
                what: reason.clone(),
                observed: name.clone(),
                expected: "1".into(),
                tolerance: String::new(),
                holds,
                doubtful: false,
                missed_by: None,
                control: None,
            };
            Outcome {
                check: format!("{area}.{number}{name}"),
                subject: subject.into(),
                scope: Scope::Kernel,
                claim: reason.clone(),
                source: String::new(),
                proved_by: Vec::new(),
                fault,
                verdict,
                reason,
                attempts: 1,
                duration_ms: 1,
                evidence: Evidence {
                    expectations: vec![expectation],
                    notes: vec![name],
                    ..Evidence::default()
                },
                earlier: Vec::new(),
                known: number.is_multiple_of(3).then(|| "https://x/7".to_owned()),
            }
        },
    )
}

fn run(place: usize) -> impl Strategy<Value = Run> {
    let outcomes = (0..7_usize).prop_flat_map(|count| (0..count).map(outcome).collect::<Vec<_>>());
    (outcomes, prop::collection::vec(text(), 0..2)).prop_map(move |(outcomes, left_behind)| Run {
        schema_version: SCHEMA_VERSION,
        id: format!("run{place}"),
        plimsoll: "0".into(),
        started: "2026-01-01T00:00:00Z".into(),
        duration_ms: 10,
        host: Host { kernel: "6.1".into(), ..Host::default() },
        subjects: vec![SubjectInfo { name: "core".into(), path: "/x".into(), version: "1".into() }],
        outcomes,
        left_behind,
    })
}

fn row(place: usize) -> impl Strategy<Value = Row> {
    (prop::option::weighted(0.7, run(place)), text()).prop_map(move |(run, failure)| {
        let mut row = Row::failed(&format!("6.{place}-v2"), "generic", "v2", failure.clone());
        row.console = vec![failure];
        row.run = run;
        row
    })
}

fn rows() -> impl Strategy<Value = Matrix> {
    (1..5_usize).prop_flat_map(|count| (0..count).map(row).collect::<Vec<_>>()).prop_map(|rows| Matrix {
        schema_version: SCHEMA_VERSION,
        plimsoll: "0".into(),
        rows,
    })
}

/// Counted by hand, and not by what the forms call.
fn expected(matrix: &Matrix) -> Counts {
    let mut counts = Counts::default();
    for row in &matrix.rows {
        let Some(run) = &row.run else {
            counts.error += 1;
            continue;
        };
        for outcome in &run.outcomes {
            let looked = outcome.evidence.expectations.iter().any(|expectation| !expectation.holds);
            match (outcome.verdict, outcome.fault.is_some()) {
                (Verdict::Error, _) => counts.error += 1,
                (Verdict::Skip, _) | (Verdict::Inconclusive, true) => counts.skip += 1,
                (Verdict::Inconclusive, false) => counts.inconclusive += 1,
                (Verdict::Pass, false) => counts.pass += 1,
                (Verdict::Fail, true) if looked => counts.pass += 1,
                _ => counts.fail += 1,
            }
        }
    }
    counts
}

fn by_word<'a>(words: impl Iterator<Item = &'a str>) -> Counts {
    Counts::of(words.map(|word| match word {
        "pass" | "PASS" => Verdict::Pass,
        "fail" | "FAIL" => Verdict::Fail,
        "skip" | "SKIP" => Verdict::Skip,
        "inconclusive" | "DONE" => Verdict::Inconclusive,
        "error" | "ERROR" => Verdict::Error,
        other => panic!("{other} is no verdict"),
    }))
}

fn in_ktap(text: &str, several: bool) -> Counts {
    let indent = if several { "    " } else { "" };
    let results =
        text.lines().filter_map(|line| line.strip_prefix(indent)).filter(|line| !line.starts_with('#'));
    let results = results.filter(|line| line.starts_with("ok ") || line.starts_with("not ok "));
    Counts::of(results.map(|line| match (line.starts_with("ok "), line.split_once(" # ")) {
        (true, None) => Verdict::Pass,
        (true, Some((_, directive))) if directive.starts_with("SKIP inconclusive: ") => Verdict::Inconclusive,
        (true, Some((_, directive))) if directive.starts_with("SKIP") => Verdict::Skip,
        (false, None) => Verdict::Fail,
        (false, Some((_, directive))) if directive.starts_with("XFAIL known: https://x/7") => Verdict::Fail,
        (false, Some((_, directive))) if directive.starts_with("ERROR") => Verdict::Error,
        _ => panic!("{line}"),
    }))
}

fn in_junit(text: &str) -> Counts {
    let count = |what: &str| text.matches(what).count();
    let inconclusive = count("<skipped message=\"inconclusive: ");
    let (fail, error, skip) = (count("<failure"), count("<error"), count("<skipped") - inconclusive);
    Counts { pass: count("<testcase ") - fail - error - skip - inconclusive, fail, skip, inconclusive, error }
}

fn in_markdown(text: &str) -> Counts {
    let all = text.split("<details>").skip(1).flat_map(|part| part.split("</details>").next());
    let lines = all.flat_map(str::lines).filter(|line| line.starts_with("| `"));
    by_word(lines.map(|line| {
        // A cell of words that nobody outside chose.
        let cells = line.replace("\\|", "");
        let cell = cells.split('|').nth(3).unwrap().trim().to_owned();
        ["pass", "FAIL", "skip", "inconclusive", "ERROR"]
            .into_iter()
            .find(|word| *word == cell)
            .unwrap_or_else(|| panic!("{line}"))
    }))
}

fn in_page(text: &str) -> Counts {
    by_word(text.split("data-verdict=\"").skip(1).map(|rest| rest.split('"').next().unwrap()))
}

fn in_matrix_page(text: &str) -> Counts {
    let data = text.split("<script id=\"data\" type=\"application/json\">").nth(1).unwrap();
    let data: Value = serde_json::from_str(data.split("</script>").next().unwrap()).unwrap();
    let rows = data.as_array().unwrap();
    let words: Vec<&str> = rows
        .iter()
        .flat_map(|row| {
            let failed = (!row["failure"].as_str().unwrap().is_empty()).then_some("ERROR");
            row["outcomes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["verdict"].as_str().unwrap())
                .chain(failed)
        })
        .collect();
    by_word(words.into_iter())
}

fn names(junit: &str) -> Vec<(String, String)> {
    let of = |case: &str, key: &str| {
        case.split(&format!("{key}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    junit.split("<testcase").skip(1).map(|case| (of(case, " name"), of(case, " classname"))).collect()
}

/// The sums of the gauge by verdict, which must be those of the checks' own gauges.
fn in_openmetrics(text: &str) -> Counts {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let verdict =
        |line: &str| line.rsplit("verdict=\"").next().unwrap().split('"').next().unwrap().to_owned();
    let (mut summed, mut single) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let number = || line.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        if line.starts_with("plimsoll_checks{") {
            summed.extend(std::iter::repeat_n(verdict(line), number()));
        } else if line.starts_with("plimsoll_check{") {
            // A fault's label stands behind the verdict's.
            single.extend(std::iter::repeat_n(verdict(line), number()));
        } else {
            assert!(line.starts_with('#') || line.starts_with("plimsoll_left_behind{"), "{line}");
        }
    }
    let counts = |words: &[String]| by_word(words.iter().map(String::as_str));
    assert_eq!(counts(&summed), counts(&single));
    counts(&summed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_form_counts_every_row_and_every_verdict(matrix in rows()) {
        let expected = expected(&matrix);
        let runs: Vec<(String, Run)> = matrix.rows.iter().map(|row| (row.name.clone(), row.to_run())).collect();
        let named: Vec<(String, &Run)> = runs.iter().map(|(name, run)| (name.clone(), run)).collect();
        let several = named.len() > 1;

        prop_assert_eq!(matrix.shown_counts(), expected);
        let table = matrix::table(&matrix);
        let total = format!("all rows: {expected}\n");
        prop_assert!(table.ends_with(&total), "{}", table);
        prop_assert!(matrix.rows.iter().all(|row| table.contains(&row.name)));

        let xml = junit::junit(&named).unwrap();
        prop_assert_eq!(in_junit(&xml), expected, "{}", xml);
        let names = names(&xml);
        prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{:?}", names);

        let ktap = ktap::ktap(&named);
        prop_assert_eq!(in_ktap(&ktap, several), expected, "{}", ktap);

        let kcidb = serde_json::to_value(kcidb::kcidb(&named)).unwrap();
        let statuses: Vec<&str> = kcidb["tests"].as_array().unwrap().iter().map(|test| test["status"].as_str().unwrap()).collect();
        prop_assert_eq!(by_word(statuses.into_iter()), expected);

        prop_assert_eq!(in_openmetrics(&openmetrics::openmetrics(&named)), expected);

        let log = serde_json::to_value(sarif::sarif(&named)).unwrap();
        let results: usize = log["runs"].as_array().unwrap().iter().map(|run| run["results"].as_array().unwrap().len()).sum();
        prop_assert_eq!(results, runs.iter().map(|(_, run)| run.outcomes.len()).sum::<usize>());

        let annotations = github::github(&named);
        let left: usize = runs.iter().map(|(_, run)| run.left_behind.len()).sum();
        let lines = |level: &str| annotations.lines().filter(|line| line.starts_with(&format!("::{level} "))).count();
        prop_assert_eq!(lines("error"), expected.fail + expected.error + left, "{}", annotations);
        prop_assert_eq!(lines("warning"), expected.inconclusive);
        prop_assert_eq!(annotations.lines().count(), lines("error") + lines("warning") + lines("notice"));

        let markdown = markdown::markdown(&named);
        prop_assert_eq!(in_markdown(&markdown), expected, "{}", markdown);

        prop_assert_eq!(in_matrix_page(&html::matrix_page(&matrix)), expected);
        prop_assert!(html::matrix_page(&matrix).contains(&expected.to_string()));

        let records = json::text(&named.iter().map(|(_, run)| *run).collect::<Vec<_>>()).unwrap();
        let records: Vec<Run> = serde_json::from_str(&records).unwrap();
        prop_assert_eq!(Counts::of(records.iter().flat_map(|run| &run.outcomes).map(Outcome::shown)), expected);

        for (_, run) in &runs {
            let own = run.shown_counts();
            prop_assert_eq!(in_page(&html::page(run)), own);
            let table = terminal::table(run, false);
            prop_assert!(table.lines().last().unwrap().starts_with(&own.to_string()), "{}", table);
            prop_assert_eq!(run.outcomes.iter().filter(|one| table.contains(one.check.lines().next().unwrap())).count(), run.outcomes.len());
        }
    }
}
