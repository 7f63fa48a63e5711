//! Annotations of GitHub Actions: a line for each verdict that somebody should look at. Source: "Workflow commands for GitHub
//! Actions".

use std::fmt::Write;

use crate::form::{self, Form, Look, Product, Records, Refused};
use crate::summary::summary;
use record::{Run, Verdict};

/// Annotations of GitHub Actions.
#[derive(Debug)]
pub struct Github;

impl Form for Github {
    fn name(&self) -> &'static str {
        "github"
    }

    fn about(&self) -> &'static str {
        "Annotations of GitHub Actions"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        Ok(Product::Text(github(&form::borrowed(&records.flat()))))
    }
}

/// Runs as workflow commands: errors for what failed, warnings for what is in doubt, and a notice with the counts.
pub fn github(runs: &[(String, &Run)]) -> String {
    let mut text = String::new();
    for (place, run) in runs {
        let at = if place.is_empty() { String::new() } else { format!(" on {place}") };
        for outcome in &run.outcomes {
            let level = match outcome.shown() {
                Verdict::Fail | Verdict::Error => "error",
                Verdict::Inconclusive => "warning",
                Verdict::Pass | Verdict::Skip => continue,
            };
            let fault = outcome.fault.as_ref().map(|fault| format!(" under '{fault}'")).unwrap_or_default();
            let title = format!("{} ({}){fault}{at}", outcome.check, outcome.subject);
            let _ = writeln!(text, "::{level} title={}::{}", property(&title), data(&outcome.reason));
        }
        for left in &run.left_behind {
            let _ = writeln!(text, "::error title={}::{}", property(&format!("left behind{at}")), data(left));
        }
        let _ =
            writeln!(text, "::notice title={}::{}", property(&format!("plimsoll{at}")), data(&summary(run)));
    }
    text
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
