//! OpenMetrics text, as node exporters read it from a directory. Source: OpenMetrics 1.0, "Text Format".

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::form::{self, Form, Look, Product, Records, Refused};
use record::{Run, Verdict};

/// OpenMetrics text.
#[derive(Debug)]
pub struct OpenMetrics;

impl Form for OpenMetrics {
    fn name(&self) -> &'static str {
        "openmetrics"
    }

    fn about(&self) -> &'static str {
        "OpenMetrics text, for node exporters"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        Ok(Product::Text(openmetrics(&form::borrowed(&records.flat()))))
    }
}

/// Every verdict of a run.
const VERDICTS: [Verdict; 5] =
    [Verdict::Pass, Verdict::Fail, Verdict::Skip, Verdict::Inconclusive, Verdict::Error];

/// Runs as metrics: how many checks have which verdict, and each check's own, 1 for the one that it has.
pub fn openmetrics(runs: &[(String, &Run)]) -> String {
    let mut text = String::new();
    let labels = |place: &str, run: &Run| {
        format!(
            "place=\"{}\",kernel=\"{}\",cgroup=\"{}\"",
            escaped(place),
            escaped(&run.host.kernel),
            escaped(&run.host.cgroup_mode)
        )
    };
    text.push_str(
        "# TYPE plimsoll_checks gauge\n# HELP plimsoll_checks Checks of the last run by verdict.\n",
    );
    for (place, run) in runs {
        let mut counts: BTreeMap<&str, usize> = VERDICTS.iter().map(|verdict| (verdict.word(), 0)).collect();
        for outcome in &run.outcomes {
            *counts.entry(outcome.shown().word()).or_default() += 1;
        }
        for (verdict, count) in counts {
            let labels = labels(place, run);
            let _ =
                writeln!(text, "plimsoll_checks{{{labels},verdict=\"{}\"}} {count}", verdict.to_lowercase());
        }
    }
    text.push_str("# TYPE plimsoll_check gauge\n# HELP plimsoll_check The verdict of a check is 1.\n");
    for (place, run) in runs {
        for outcome in &run.outcomes {
            let fault = outcome.fault.as_deref().map(|fault| format!(",fault=\"{}\"", escaped(fault)));
            let _ = writeln!(
                text,
                "plimsoll_check{{{},check=\"{}\",subject=\"{}\",verdict=\"{}\"{}}} 1",
                labels(place, run),
                escaped(&outcome.check),
                escaped(&outcome.subject),
                outcome.shown().word().to_lowercase(),
                fault.unwrap_or_default()
            );
        }
    }
    text.push_str("# TYPE plimsoll_left_behind gauge\n# HELP plimsoll_left_behind Things that the run left on the host.\n");
    for (place, run) in runs {
        let _ = writeln!(text, "plimsoll_left_behind{{{}}} {}", labels(place, run), run.left_behind.len());
    }
    text.push_str("# EOF\n");
    text
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
