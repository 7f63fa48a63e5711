//! Records in a few lines of text.

use std::fmt::Write;

use record::{Expectation, Outcome, Run};

/// One line: how many claims passed, and what did not.
pub fn summary(run: &Run) -> String {
    let mut text = run.shown_counts().to_string();
    if run.is_proof() {
        text.push_str(" (a check passes that fails under its fault)");
    }
    let seconds = run.duration_ms / 1000;
    let _ = write!(text, " in {seconds}.{} s", run.duration_ms % 1000 / 100);
    text
}

/// Everything that speaks for an outcome, for people.
pub fn evidence(outcome: &Outcome) -> String {
    let mut text = format!("{} on {}: {}\n", outcome.check, outcome.subject, outcome.verdict.word());
    let _ = writeln!(text, "  claim: {}", outcome.claim);
    if !outcome.reason.is_empty() {
        let _ = writeln!(text, "  reason: {}", outcome.reason);
    }
    for expectation in &outcome.evidence.expectations {
        let _ = writeln!(text, "  {}", expectation_line(expectation));
    }
    for series in &outcome.evidence.series {
        let values: Vec<String> = series.values.iter().map(|value| format!("{value:.2}")).collect();
        let _ = writeln!(text, "  {} ({}): {}", series.name, series.unit, values.join(" "));
    }
    for file in &outcome.evidence.files {
        let _ = writeln!(text, "  {} ({}): {}", file.path, file.moment, file.text.trim().replace('\n', "; "));
    }
    for note in &outcome.evidence.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

/// An expectation in one line.
pub fn expectation_line(expectation: &Expectation) -> String {
    let sign = if expectation.holds { "ok" } else { "NOT" };
    let mut text = format!(
        "[{sign}] {}: observed {}, expected {}",
        expectation.what, expectation.observed, expectation.expected
    );
    if !expectation.tolerance.is_empty() {
        let _ = write!(text, " ({})", expectation.tolerance);
    }
    text
}
