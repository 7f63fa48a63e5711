//! Markdown, for a comment or a wiki: the summary, what did not hold, and all verdicts folded away.

use crate::form::{self, Form, Look, Product, Records, Refused};
use std::fmt::Write;

use crate::summary::summary;
use record::{Run, Verdict};

/// Runs as Markdown.
pub fn markdown(runs: &[(String, &Run)]) -> String {
    let mut text = String::new();
    for (place, run) in runs {
        let host = &run.host;
        let title = if place.is_empty() { "Plimsoll".to_owned() } else { escaped(place) };
        let _ = writeln!(text, "## {title}: {}\n", summary(run));
        let _ = writeln!(
            text,
            "Linux {} {}, cgroup {}, {} CPUs.\n",
            escaped(&host.kernel),
            escaped(&host.architecture),
            escaped(&host.cgroup_mode),
            host.cpus
        );
        for left in &run.left_behind {
            let _ = writeln!(text, "Left behind: {}\n", escaped(left));
        }
        let bad: Vec<_> = run
            .outcomes
            .iter()
            .filter(|outcome| {
                matches!(outcome.shown(), Verdict::Fail | Verdict::Error | Verdict::Inconclusive)
            })
            .collect();
        if !bad.is_empty() {
            text.push_str("| check | subject | verdict | why |\n|---|---|---|---|\n");
            for outcome in bad {
                let _ = writeln!(
                    text,
                    "| `{}` | {} | **{}** | {} |",
                    code(&outcome.check),
                    escaped(&outcome.subject),
                    outcome.shown().word(),
                    escaped(&outcome.reason)
                );
            }
            text.push('\n');
        }
        text.push_str("<details><summary>All checks</summary>\n\n| check | subject | verdict | claim |\n|---|---|---|---|\n");
        for outcome in &run.outcomes {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                code(&outcome.check),
                escaped(&outcome.subject),
                outcome.shown().word(),
                escaped(&outcome.claim)
            );
        }
        text.push_str("\n</details>\n\n");
    }
    text
}

/// What stands between backticks in a table.
fn code(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "'").replace('|', "\\|")
}

fn escaped(text: &str) -> String {
    let one_line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line
        .replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('*', "\\*")
        .replace('_', "\\_")
}

/// Markdown.
#[derive(Debug)]
pub struct Markdown;

impl Form for Markdown {
    fn name(&self) -> &'static str {
        "markdown"
    }

    fn about(&self) -> &'static str {
        "For a comment or a wiki"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        let all = records.flat();
        Ok(Product::Text(markdown(&form::borrowed(&all))))
    }
}
