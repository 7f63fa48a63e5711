//! KTAP, as the kernel's own tests speak. Source: `Documentation/dev-tools/ktap.rst`.

use crate::form::{self, Form, Look, Product, Records, Refused};
use std::fmt::Write;

use record::{Outcome, Run, Verdict};

/// Runs as KTAP: a subtest for each place, or the checks themselves if there is one place alone.
pub fn ktap(runs: &[(String, &Run)]) -> String {
    let mut text = "KTAP version 1\n".to_owned();
    if let [(_, run)] = runs {
        let _ = checks(run, "", &mut text);
        return text;
    }
    let _ = writeln!(text, "1..{}", runs.len());
    for (number, (place, run)) in runs.iter().enumerate() {
        text.push_str("    KTAP version 1\n");
        let holds = checks(run, "    ", &mut text);
        let _ = writeln!(text, "{} {} {}", if holds { "ok" } else { "not ok" }, number + 1, plain(place));
    }
    text
}

fn checks(run: &Run, indent: &str, text: &mut String) -> bool {
    let _ = writeln!(text, "{indent}1..{}", run.outcomes.len());
    for left in &run.left_behind {
        let _ = writeln!(text, "{indent}# left behind: {}", plain(left));
    }
    for (number, outcome) in run.outcomes.iter().enumerate() {
        line(outcome, number + 1, indent, text);
    }
    !run.outcomes.iter().any(|outcome| matches!(outcome.shown(), Verdict::Fail | Verdict::Error))
}

fn line(outcome: &Outcome, number: usize, indent: &str, text: &mut String) {
    let fails = matches!(outcome.shown(), Verdict::Fail | Verdict::Error);
    if fails {
        for expectation in outcome.evidence.expectations.iter().filter(|expectation| !expectation.holds) {
            let _ = writeln!(
                text,
                "{indent}# {}: {}: observed {}, expected {}",
                plain(&outcome.check),
                plain(&expectation.what),
                plain(&expectation.observed),
                plain(&expectation.expected)
            );
        }
    }
    let (ok, directive) = match outcome.shown() {
        Verdict::Pass => ("ok", String::new()),
        Verdict::Skip => ("ok", format!(" # SKIP {}", plain(&outcome.reason))),
        Verdict::Inconclusive => ("ok", format!(" # SKIP inconclusive: {}", plain(&outcome.reason))),
        Verdict::Fail => {
            let known = outcome.known.as_deref().map(|link| format!(" # XFAIL known: {}", plain(link)));
            ("not ok", known.unwrap_or_default())
        }
        Verdict::Error => ("not ok", format!(" # ERROR {}", plain(&outcome.reason))),
    };
    let fault = outcome.fault.as_ref().map(|fault| format!(" under {}", plain(fault))).unwrap_or_default();
    let _ = writeln!(
        text,
        "{indent}{ok} {number} {}.{}{fault}{directive}",
        plain(&outcome.check),
        plain(&outcome.subject)
    );
}

/// One line, without the sign that begins a directive.
fn plain(text: &str) -> String {
    text.replace('#', "\u{2116}").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// KTAP.
#[derive(Debug)]
pub struct Ktap;

impl Form for Ktap {
    fn name(&self) -> &'static str {
        "ktap"
    }

    fn about(&self) -> &'static str {
        "KTAP, as the kernel's own tests speak"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        let all = records.flat();
        Ok(Product::Text(ktap(&form::borrowed(&all))))
    }
}
