//! Subjects side by side, as a table in Markdown: the checks of some records by the subjects in them. Checks that say the same of
//! every subject are left out, and named below. This makes the tables of docs/security.md:
//!
//!     cargo run -p reports --example compare -- RECORD...

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use record::{Run, Verdict};

fn main() -> ExitCode {
    let mut runs = Vec::new();
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        match reports::json::read(&path) {
            Ok(run) => runs.push(run),
            Err(error) => {
                output::errln!("compare: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    output::out!("{}", compare(&runs));
    ExitCode::SUCCESS
}

/// Rows in the order of the records, columns in that of their subjects.
fn compare(runs: &[Run]) -> String {
    let (mut subjects, mut checks) = (Vec::new(), Vec::new());
    let mut cells = BTreeMap::new();
    let outcomes = runs.iter().flat_map(|run| &run.outcomes).filter(|outcome| outcome.fault.is_none());
    for outcome in outcomes {
        let (check, subject) = (outcome.check.as_str(), outcome.subject.as_str());
        for (list, name) in [(&mut checks, check), (&mut subjects, subject)] {
            if !list.contains(&name) {
                list.push(name);
            }
        }
        // Of several runs the worst counts: a race is not met in each.
        let before: Option<Verdict> = cells.remove(&(check, subject));
        let worst = before.into_iter().chain([outcome.verdict]).max_by_key(|verdict| verdict.severity());
        cells.extend(worst.map(|worst| ((check, subject), worst)));
    }
    let of = |check: &str, subject: &str| cells.get(&(check, subject)).copied();
    let is_same = |check: &&&str| {
        let first = subjects.first().and_then(|subject| of(check, subject));
        subjects.iter().all(|subject| of(check, subject) == first)
    };
    let (same, differ): (Vec<&&str>, Vec<&&str>) = checks.iter().partition(is_same);
    let mut text = format!("| check | {} |\n|---|{}\n", subjects.join(" | "), "---|".repeat(subjects.len()));
    for check in &differ {
        let signs: Vec<&str> = subjects.iter().map(|subject| sign(of(check, subject))).collect();
        text.push_str(&format!("| {check} | {} |\n", signs.join(" | ")));
    }
    let count = |subject: &str, wanted: &[Verdict]| {
        checks.iter().filter(|check| of(check, subject).is_some_and(|found| wanted.contains(&found))).count()
    };
    for (what, wanted) in
        [("fail", &[Verdict::Fail][..]), ("of those tried", &[Verdict::Fail, Verdict::Pass])]
    {
        let counts: Vec<String> = subjects.iter().map(|subject| count(subject, wanted).to_string()).collect();
        text.push_str(&format!("| {what} | {} |\n", counts.join(" | ")));
    }
    for (sentence, verdict) in [("Passed by all", Verdict::Pass), ("Tried on none", Verdict::Skip)] {
        let all = |check: &&&&str| subjects.first().and_then(|subject| of(check, subject)) == Some(verdict);
        let names: Vec<String> = same.iter().filter(all).map(|check| format!("`{check}`")).collect();
        if !names.is_empty() {
            text.push_str(&format!("\n{sentence}: {}.\n", names.join(", ")));
        }
    }
    text
}

fn sign(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Pass) => "·",
        Some(Verdict::Fail) => "**fails**",
        Some(Verdict::Skip) => "–",
        Some(Verdict::Inconclusive) => "?",
        Some(Verdict::Error) => "error",
        None => "",
    }
}
