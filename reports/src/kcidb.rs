//! The form in which kernel CI systems share results. Source: the I/O schema of KCIDB, version 4.3.

use crate::form::{self, Form, Look, Product, Records, Refused};
use serde::Serialize;

use record::{Outcome, Run, Verdict};

/// Who sends the results, which begins every id.
const ORIGIN: &str = "plimsoll";

/// One document of the schema.
#[derive(Debug, Serialize)]
pub struct Document {
    version: SchemaVersion,
    checkouts: Vec<Checkout>,
    builds: Vec<Build>,
    tests: Vec<Test>,
}

#[derive(Debug, Serialize)]
struct SchemaVersion {
    major: u32,
    minor: u32,
}

/// The source of a kernel.
#[derive(Debug, Serialize)]
struct Checkout {
    id: String,
    origin: &'static str,
    comment: String,
}

/// A kernel.
#[derive(Debug, Serialize)]
struct Build {
    id: String,
    checkout_id: String,
    origin: &'static str,
    architecture: String,
    comment: String,
}

/// A verdict.
#[derive(Debug, Serialize)]
struct Test {
    id: String,
    build_id: String,
    origin: &'static str,
    path: String,
    status: &'static str,
    start_time: String,
    /// Seconds.
    duration: f64,
    comment: String,
    environment: Environment,
    misc: Misc,
}

#[derive(Debug, Serialize)]
struct Environment {
    comment: String,
}

/// Fields that the schema leaves to the sender.
#[derive(Debug, Serialize)]
struct Misc {
    subject: String,
    source: String,
    fault: Option<String>,
}

/// Runs as one document: each host's kernel is a build, each verdict a test.
pub fn kcidb(runs: &[(String, &Run)]) -> Document {
    let id = |run: &Run| format!("{ORIGIN}:{}", run.id);
    let kernel = |run: &Run| format!("Linux {}", run.host.kernel);
    let tests = runs.iter().flat_map(|(place, run)| {
        run.outcomes.iter().enumerate().map(move |(number, outcome)| test(place, run, number, outcome))
    });
    Document {
        version: SchemaVersion { major: 4, minor: 3 },
        checkouts: runs
            .iter()
            .map(|(_, run)| Checkout { id: id(run), origin: ORIGIN, comment: kernel(run) })
            .collect(),
        builds: runs
            .iter()
            .map(|(_, run)| Build {
                id: id(run),
                checkout_id: id(run),
                origin: ORIGIN,
                architecture: run.host.architecture.clone(),
                comment: kernel(run),
            })
            .collect(),
        tests: tests.collect(),
    }
}

fn test(place: &str, run: &Run, number: usize, outcome: &Outcome) -> Test {
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
    Test {
        id: format!("{ORIGIN}:{}-{number}", run.id),
        build_id: format!("{ORIGIN}:{}", run.id),
        origin: ORIGIN,
        path: path(outcome),
        status,
        start_time: run.started.clone(),
        duration,
        comment,
        environment: Environment {
            comment: format!("{place} cgroup {}", run.host.cgroup_mode).trim().to_owned(),
        },
        misc: Misc {
            subject: outcome.subject.clone(),
            source: outcome.source.clone(),
            fault: outcome.fault.clone(),
        },
    }
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
