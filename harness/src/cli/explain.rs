//! `plimsoll list` and `plimsoll explain`

use clap::Args;
use kit::check::{Body, Check};
use kit::need::Need;
use serde::Serialize;

use super::failed::Failed;
use super::selecting::{Kind, Selecting};

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    selecting: Selecting,
    /// Only checks that look at this; may be given more than once [default: all three]
    #[arg(long, value_name = "WHAT")]
    scope: Vec<Kind>,
    /// Print an array of JSON, with all that is known of each check
    #[arg(long)]
    json: bool,
}

/// A check as `list --json` shows it.
#[derive(Debug, Serialize)]
struct Listed {
    id: &'static str,
    area: &'static str,
    scope: &'static str,
    claim: &'static str,
    source: &'static str,
    needs: Vec<String>,
    faults: Vec<&'static str>,
    /// Whether it measures time, and so runs alone.
    timing: bool,
    /// Where its tolerance comes from; empty if it has none.
    tolerance: &'static str,
}

impl Listed {
    fn of(check: &Check) -> Self {
        Self {
            id: check.id,
            area: catalogue::area_of(check),
            scope: Kind::of(check.scope).word(),
            claim: check.claim,
            source: check.source,
            needs: check.all_needs().map(Need::describe).collect(),
            faults: check.faults.iter().map(|fault| fault.name).collect(),
            timing: check.timing,
            tolerance: check.tolerance,
        }
    }
}

impl List {
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let checks = self.selecting.checks(&self.scope)?;
        if self.json {
            let listed: Vec<Listed> = checks.into_iter().map(Listed::of).collect();
            let text = serde_json::to_string_pretty(&listed)?;
            output::outln!("{text}");
            return Ok(0);
        }
        let width = checks.iter().map(|check| check.id.len()).max().unwrap_or(0);
        for check in checks {
            output::outln!("{:width$}  {}", check.id, check.claim);
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The check's id
    id: String,
}

impl Explain {
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let check = catalogue::find(&self.id)
            .ok_or_else(|| format!("no check has the id '{}'; `plimsoll list` shows them all", self.id))?;
        let needs: Vec<String> = check.all_needs().map(Need::describe).collect();
        let faults: Vec<&str> = check.faults.iter().map(|fault| fault.name).collect();
        output::outln!("{}\n", check.id);
        output::outln!("claim      {}", check.claim);
        output::outln!("source     {}", check.source);
        output::outln!(
            "looks at   {}",
            match check.body {
                Body::Kernel(_) => "the kernel, in namespaces of its own",
                Body::Runtime(_) => "containers of each subject",
                Body::Engine(_) => "containers and images of each engine",
            }
        );
        output::outln!("needs      {}", needs.join(", "));
        output::outln!("fault      {}", faults.join(", "));
        if !check.tolerance.is_empty() {
            output::outln!("tolerance  {}", check.tolerance);
        }
        output::outln!("run it     plimsoll check --verbose {}", check.id);
        output::outln!("prove it   plimsoll prove {}", check.id);
        Ok(0)
    }
}
