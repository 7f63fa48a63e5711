//! SARIF, as code scanning reads it. Source: SARIF 2.1.0.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::form::{self, Form, Look, Product, Records, Refused};
use record::{Outcome, Run, Verdict};

/// SARIF.
#[derive(Debug)]
pub struct Sarif;

impl Form for Sarif {
    fn name(&self) -> &'static str {
        "sarif"
    }

    fn about(&self) -> &'static str {
        "SARIF 2.1.0, for code scanning"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        let all = records.flat();
        Ok(Product::Text(crate::json::text(&sarif(&form::borrowed(&all)))?))
    }
}

/// A log. Fields mean what SARIF 2.1.0 says.
#[derive(Debug, Serialize)]
pub struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: Vec<LogRun>,
}

#[derive(Debug, Serialize)]
struct LogRun {
    tool: Tool,
    properties: Properties,
    results: Vec<LogResult>,
}

#[derive(Debug, Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Serialize)]
struct Driver {
    name: &'static str,
    version: String,
    rules: Vec<Rule>,
}

/// A check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: String,
    short_description: Message,
    help: Message,
}

#[derive(Debug, Serialize)]
struct Message {
    text: String,
}

/// The host.
#[derive(Debug, Serialize)]
struct Properties {
    kernel: String,
    cgroup: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    place: String,
}

/// A verdict.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogResult {
    rule_id: String,
    kind: &'static str,
    level: &'static str,
    message: Message,
    locations: [Location; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    logical_locations: [LogicalLocation; 1],
}

/// A subject.
#[derive(Debug, Serialize)]
struct LogicalLocation {
    name: String,
    kind: &'static str,
}

/// Runs as one log: a rule for each check, a result for each verdict.
pub fn sarif(runs: &[(String, &Run)]) -> Log {
    Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: runs.iter().map(|(place, run)| one(place, run)).collect(),
    }
}

fn one(place: &str, run: &Run) -> LogRun {
    let rules: BTreeMap<&str, &Outcome> =
        run.outcomes.iter().map(|outcome| (outcome.check.as_str(), outcome)).collect();
    let rule = |(check, outcome): (&str, &Outcome)| Rule {
        id: check.to_owned(),
        short_description: Message { text: outcome.claim.clone() },
        help: Message { text: format!("Source: {}. plimsoll explain {check}", outcome.source) },
    };
    LogRun {
        tool: Tool {
            driver: Driver {
                name: "plimsoll",
                version: run.plimsoll.clone(),
                rules: rules.into_iter().map(rule).collect(),
            },
        },
        properties: Properties {
            kernel: run.host.kernel.clone(),
            cgroup: run.host.cgroup_mode.clone(),
            place: place.to_owned(),
        },
        results: run.outcomes.iter().map(result).collect(),
    }
}

fn result(outcome: &Outcome) -> LogResult {
    let (kind, level) = match outcome.shown() {
        Verdict::Pass => ("pass", "none"),
        Verdict::Skip => ("notApplicable", "none"),
        Verdict::Inconclusive => ("open", "none"),
        Verdict::Fail | Verdict::Error => ("fail", "error"),
    };
    let fault = outcome.fault.as_ref().map(|fault| format!(" under '{fault}'")).unwrap_or_default();
    let reason = if outcome.reason.is_empty() { &outcome.claim } else { &outcome.reason };
    LogResult {
        rule_id: outcome.check.clone(),
        kind,
        level,
        message: Message { text: format!("{}{fault}: {reason}", outcome.subject) },
        locations: [Location {
            logical_locations: [LogicalLocation { name: outcome.subject.clone(), kind: "module" }],
        }],
    }
}
