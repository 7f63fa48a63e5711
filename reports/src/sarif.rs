//! SARIF, as code scanning reads it. Source: SARIF 2.1.0.

use std::collections::BTreeMap;

use serde_json::{Value, json};

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

/// Runs as one log: a rule for each check, a result for each verdict.
pub fn sarif(runs: &[(String, &Run)]) -> Value {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": runs.iter().map(|(place, run)| one(place, run)).collect::<Vec<_>>(),
    })
}

fn one(place: &str, run: &Run) -> Value {
    let rules: BTreeMap<&str, &Outcome> =
        run.outcomes.iter().map(|outcome| (outcome.check.as_str(), outcome)).collect();
    let rules: Vec<Value> = rules
        .into_iter()
        .map(|(check, outcome)| {
            json!({
                "id": check,
                "shortDescription": { "text": outcome.claim },
                "help": { "text": format!("Source: {}. plimsoll explain {check}", outcome.source) },
            })
        })
        .collect();
    let mut properties = json!({ "kernel": run.host.kernel, "cgroup": run.host.cgroup_mode });
    if !place.is_empty() {
        properties["place"] = place.into();
    }
    json!({
        "tool": { "driver": { "name": "plimsoll", "version": run.plimsoll, "rules": rules } },
        "properties": properties,
        "results": run.outcomes.iter().map(result).collect::<Vec<_>>(),
    })
}

fn result(outcome: &Outcome) -> Value {
    let (kind, level) = match outcome.shown() {
        Verdict::Pass => ("pass", "none"),
        Verdict::Skip => ("notApplicable", "none"),
        Verdict::Inconclusive => ("open", "none"),
        Verdict::Fail | Verdict::Error => ("fail", "error"),
    };
    let fault = outcome.fault.as_ref().map(|fault| format!(" under '{fault}'")).unwrap_or_default();
    let reason = if outcome.reason.is_empty() { &outcome.claim } else { &outcome.reason };
    json!({
        "ruleId": outcome.check,
        "kind": kind,
        "level": level,
        "message": { "text": format!("{}{fault}: {reason}", outcome.subject) },
        "locations": [{ "logicalLocations": [{ "name": outcome.subject, "kind": "module" }] }],
    })
}
