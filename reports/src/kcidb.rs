//! The form in which kernel CI systems share results. Source: the I/O schema of KCIDB, version 4.3.

use crate::form::{self, Form, Look, Product, Records, Refused};
use serde_json::{Value, json};

use record::{Outcome, Run, Verdict};

/// Who sends the results, which begins every id.
const ORIGIN: &str = "plimsoll";

/// Runs as one document: each host's kernel is a build, each verdict a test.
pub fn kcidb(runs: &[(String, &Run)]) -> Value {
    let id = |run: &Run| format!("{ORIGIN}:{}", run.id);
    let kernel = |run: &Run| format!("Linux {}", run.host.kernel);
    let checkouts: Vec<Value> = runs
        .iter()
        .map(|(_, run)| json!({ "id": id(run), "origin": ORIGIN, "comment": kernel(run) }))
        .collect();
    let builds: Vec<Value> = runs
        .iter()
        .map(|(_, run)| {
            json!({
                "id": id(run), "checkout_id": id(run), "origin": ORIGIN, "architecture": run.host.architecture,
                "comment": kernel(run),
            })
        })
        .collect();
    let tests: Vec<Value> = runs
        .iter()
        .flat_map(|(place, run)| {
            run.outcomes.iter().enumerate().map(move |(number, outcome)| test(place, run, number, outcome))
        })
        .collect();
    json!({ "version": { "major": 4, "minor": 3 }, "checkouts": checkouts, "builds": builds, "tests": tests })
}

fn test(place: &str, run: &Run, number: usize, outcome: &Outcome) -> Value {
    let status = match outcome.shown() {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Error => "ERROR",
        Verdict::Skip => "SKIP",
        // It came to its end and says nothing of the claim.
        Verdict::Inconclusive => "DONE",
    };
    let comment = if outcome.reason.is_empty() {
        outcome.claim.clone()
    } else {
        format!("{}: {}", outcome.claim, outcome.reason)
    };
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
    let duration = outcome.duration_ms as f64 / 1e3;
    json!({
        "id": format!("{ORIGIN}:{}-{number}", run.id),
        "build_id": format!("{ORIGIN}:{}", run.id),
        "origin": ORIGIN,
        "path": path(outcome),
        "status": status,
        "start_time": run.started,
        "duration": duration,
        "comment": comment,
        "environment": { "comment": format!("{place} cgroup {}", run.host.cgroup_mode).trim() },
        "misc": { "subject": outcome.subject, "source": outcome.source, "fault": outcome.fault },
    })
}

/// Letters, digits, dots, hyphens and underscores are all that it may hold.
fn path(outcome: &Outcome) -> String {
    let fault = outcome.fault.as_ref().map(|fault| format!(".under-{fault}")).unwrap_or_default();
    format!("{ORIGIN}.{}.{}{fault}", outcome.check, outcome.subject)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' })
        .collect()
}

/// The I/O schema of KCIDB.
#[derive(Debug)]
pub struct Kcidb;

impl Form for Kcidb {
    fn name(&self) -> &'static str {
        "kcidb"
    }

    fn about(&self) -> &'static str {
        "For KCIDB and those kernel CI systems that speak its form"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        let all = records.flat();
        Ok(Product::Text(crate::json::text(&kcidb(&form::borrowed(&all)))?))
    }
}
