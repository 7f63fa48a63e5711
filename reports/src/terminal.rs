//! A run as a table for a terminal.

use crate::form::{Form, Look, Product, Records, Refused};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;

use owo_colors::{OwoColorize, Style};
use record::{Area, Outcome, Run, Verdict};

pub use crate::summary::{evidence, expectation_line, summary};

/// Longest reason that is printed in a table.
const WIDTH: usize = 100;

/// Whether colours are wanted, where it is a terminal that is written to or not: nobody asked for none, and the terminal can show
/// them. Source: no-color.org; terminfo(5), "dumb".
pub fn wants_color(terminal: bool) -> bool {
    color(terminal, std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref())
}

fn color(terminal: bool, refused: Option<&OsStr>, kind: Option<&OsStr>) -> bool {
    terminal && refused.is_none_or(OsStr::is_empty) && kind.is_none_or(|kind| kind != "dumb")
}

/// The table: a line for each check, grouped by area, with a column for each subject; then what is not a pass, with
/// its reason; then a summary.
pub fn table(run: &Run, color: bool) -> String {
    let mut text = String::new();
    let paint = Painter { color };
    let _ = writeln!(
        text,
        "Linux {} {}, cgroup {}, {} CPUs{}",
        run.host.kernel,
        run.host.architecture,
        run.host.cgroup_mode,
        run.host.cpus,
        if run.host.privileged { "" } else { ", not privileged" }
    );
    for subject in &run.subjects {
        let _ = writeln!(text, "  {}: {} ({})", subject.name, subject.version, subject.path);
    }
    let width = run.outcomes.iter().map(|outcome| outcome.check.len()).max().unwrap_or(0);
    for (area, checks) in by_area(run) {
        let _ = writeln!(text, "\n{}", paint.bold(&area.0));
        for (check, outcomes) in checks {
            let cells: Vec<String> = outcomes.iter().map(|outcome| paint.cell(outcome)).collect();
            let _ = writeln!(text, "  {check:width$}  {}", cells.join("  "));
        }
    }
    let reasons = reasons(run);
    if !reasons.is_empty() {
        let _ = writeln!(text, "\n{reasons}");
    }
    for left in &run.left_behind {
        let _ = writeln!(text, "left behind: {left}");
    }
    let _ = writeln!(text, "{}", summary(run));
    text
}

/// The table without its lines for checks: what is not a pass, with its reason; then the summary.
pub fn brief(run: &Run) -> String {
    let mut text = reasons(run);
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    for left in &run.left_behind {
        let _ = writeln!(text, "left behind: {left}");
    }
    let _ = writeln!(text, "{}", summary(run));
    text
}

type Checks<'a> = Vec<(&'a str, Vec<&'a Outcome>)>;

fn by_area(run: &Run) -> Vec<(Area, Checks<'_>)> {
    let mut areas: Vec<(Area, Checks<'_>)> = Vec::new();
    for outcome in &run.outcomes {
        let area = outcome.area();
        if !areas.iter().any(|(known, _)| *known == area) {
            areas.push((area.clone(), Vec::new()));
        }
        let (_, checks) = areas.iter_mut().find(|(known, _)| *known == area).expect("pushed above");
        match checks.iter_mut().find(|(check, _)| *check == outcome.check) {
            Some((_, outcomes)) => outcomes.push(outcome),
            None => checks.push((&outcome.check, vec![outcome])),
        }
    }
    areas
}

/// Reasons of what is not a pass, and of a pass that was not expected; equal ones are told once.
fn reasons(run: &Run) -> String {
    let mut grouped: BTreeMap<(Verdict, &str), Vec<String>> = BTreeMap::new();
    let is_news = |outcome: &&Outcome| {
        outcome.shown() != Verdict::Pass || (outcome.fault.is_none() && !outcome.reason.is_empty())
    };
    for outcome in run.outcomes.iter().filter(is_news) {
        let name = format!("{} ({})", outcome.check, outcome.subject);
        grouped.entry((outcome.shown(), &outcome.reason)).or_default().push(name);
    }
    let lines: Vec<String> = grouped
        .into_iter()
        .map(|((verdict, reason), names)| {
            let names = if names.len() > 3 {
                format!("{} and {} more", names[..2].join(", "), names.len() - 2)
            } else {
                names.join(", ")
            };
            format!("{}: {names}\n    {}", verdict.word(), cut(reason))
        })
        .collect();
    lines.join("\n")
}

fn cut(text: &str) -> String {
    let line = text.replace('\n', " ");
    if line.chars().count() <= 3 * WIDTH {
        return line;
    }
    line.chars().take(3 * WIDTH).chain("...".chars()).collect()
}

struct Painter {
    color: bool,
}

impl Painter {
    fn bold(&self, text: &str) -> String {
        if self.color { text.bold().to_string() } else { text.to_owned() }
    }

    fn cell(&self, outcome: &Outcome) -> String {
        let style = match outcome.shown() {
            Verdict::Pass => Style::new().green(),
            Verdict::Fail | Verdict::Error => Style::new().red().bold(),
            Verdict::Skip => Style::new().dimmed(),
            Verdict::Inconclusive => Style::new().yellow(),
        };
        let text = format!("{} {} {} ms", outcome.subject, outcome.shown().word(), outcome.duration_ms);
        let text = format!("{text:<22}");
        if self.color { text.style(style).to_string() } else { text }
    }
}

/// A table for a terminal.
#[derive(Debug)]
pub struct Table;

impl Form for Table {
    fn name(&self) -> &'static str {
        "table"
    }

    fn about(&self) -> &'static str {
        "A table for a terminal"
    }

    fn records(&self, records: Records, look: Look) -> Result<Product, Refused> {
        let tables = records.runs.iter().map(|(_, run)| table(run, look.colours));
        Ok(Product::Text(tables.chain(records.whole.iter().map(crate::matrix::table)).collect()))
    }

    fn benches(&self, benches: &[(String, record::bench::Bench)]) -> Result<Product, Refused> {
        Ok(Product::Text(benches.iter().map(|(_, bench)| crate::bench::table(bench)).collect()))
    }

    fn fleet(&self, fleet: &crate::fleet::Fleet) -> Result<Product, Refused> {
        Ok(Product::Text(fleet.text()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use record::{Evidence, Host, SCHEMA_VERSION, Scope, SubjectInfo};

    pub(crate) fn example() -> Run {
        let outcome = |check: &str, subject: &str, verdict, reason: &str| Outcome {
            check: check.into(),
            subject: subject.into(),
            scope: Scope::Runtime,
            claim: "it holds".into(),
            source: String::new(),
            proved_by: Vec::new(),
            fault: None,
            verdict,
            reason: reason.into(),
            attempts: 1,
            duration_ms: 12,
            evidence: Evidence::default(),
            earlier: Vec::new(),
            known: None,
        };
        Run {
            schema_version: SCHEMA_VERSION,
            id: "abc".into(),
            plimsoll: "0.1.0".into(),
            started: "2026-01-01T00:00:00Z".into(),
            duration_ms: 1234,
            host: Host { kernel: "6.1".into(), cgroup_mode: "hybrid".into(), ..Host::default() },
            subjects: vec![SubjectInfo { name: "core".into(), path: "/x".into(), version: "1".into() }],
            outcomes: vec![
                outcome("ns.uts.hostname", "core", Verdict::Pass, ""),
                outcome("ns.uts.hostname", "runc", Verdict::Fail, "the host was renamed"),
                outcome("cpu.quota.20-percent", "core", Verdict::Skip, "no controller cpu"),
            ],
            left_behind: vec![],
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_check_and_a_reason_for_each_red_one() {
        let text = table(&example(), false);
        let line = text.lines().find(|line| line.contains("ns.uts.hostname")).unwrap();
        assert!(line.contains("core pass") && line.contains("runc FAIL"), "{text}");
        assert!(text.contains("the host was renamed") && text.contains("no controller cpu"), "{text}");
        assert!(text.ends_with("1 passed, 1 failed, 1 skipped in 1.2 s\n"), "{text}");
    }

    #[test]
    fn no_colours_where_they_are_not_wanted() {
        let some = |text: &'static str| Some(OsStr::new(text));
        assert!(color(true, None, some("xterm")) && color(true, some(""), None));
        assert!(!color(true, some("1"), some("xterm")) && !color(false, None, None));
        assert!(!color(true, None, some("dumb")));
    }

    #[test]
    fn a_failure_outranks_trouble_of_the_harness() {
        let mut run = example();
        assert_eq!(run.exit_status(), 1);
        run.outcomes.retain(|outcome| outcome.verdict != Verdict::Fail);
        assert_eq!(run.exit_status(), 0);
        run.outcomes[0].verdict = Verdict::Error;
        assert_eq!(run.exit_status(), 2);
        run.outcomes[0].verdict = Verdict::Pass;
        run.left_behind.push("a mount".into());
        assert_eq!(run.exit_status(), 2);
    }
}
