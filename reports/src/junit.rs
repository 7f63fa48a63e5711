//! JUnit XML, as continuous integration shows it: a suite for each area and subject, a case for each check.

use crate::form::{self, Form, Look, Product, Records, Refused};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use record::{Outcome, Run, Verdict};

/// Runs as JUnit XML; a run of several has the name of its machine in each suite's name and in the class of each case, so that no two
/// cases have one name.
///
/// # Errors
/// The text cannot be formed.
pub fn junit(runs: &[(String, &Run)]) -> Result<String, Refused> {
    let mut report = Report::new("plimsoll");
    for (place, run) in runs {
        let mut suites: Vec<(String, TestSuite)> = Vec::new();
        for outcome in &run.outcomes {
            let mut name = format!("{} ({})", outcome.area().0, outcome.subject);
            if !place.is_empty() {
                name = format!("{place}: {name}");
            }
            let suite = match suites.iter_mut().position(|(known, _)| *known == name) {
                Some(position) => &mut suites[position].1,
                None => {
                    let mut suite = TestSuite::new(name.clone());
                    suite.add_property(("kernel", run.host.kernel.as_str()));
                    suite.add_property(("cgroup", run.host.cgroup_mode.as_str()));
                    suites.push((name, suite));
                    &mut suites.last_mut().expect("it was just pushed").1
                }
            };
            suite.add_test_case(case(place, outcome));
        }
        if let Some((_, suite)) = suites.first_mut() {
            for left in &run.left_behind {
                suite.add_property(("left behind", left.as_str()));
            }
        }
        report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    }
    report
        .to_string()
        .map(|text| as_the_schema_has_it(&text))
        .map_err(|error| Refused(format!("writing JUnit: {error}")))
}

/// The common schema (that of Jenkins' xUnit plugin) has no number of skipped cases for the whole, only for each suite.
fn as_the_schema_has_it(text: &str) -> String {
    let Some(start) = text.find("<testsuites ") else { return text.to_owned() };
    let end = start + text[start..].find('>').unwrap_or(0);
    let tag = &text[start..end];
    let kept = tag.split(' ').filter(|word| !word.starts_with("skipped=")).collect::<Vec<_>>().join(" ");
    [&text[..start], &kept, &text[end..]].concat()
}

fn case(place: &str, outcome: &Outcome) -> TestCase {
    let failed = |kind| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(outcome.reason.clone()).set_type(outcome.shown().word());
        status.set_description(crate::summary::evidence(outcome));
        status
    };
    let status = match outcome.shown() {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail => failed(NonSuccessKind::Failure),
        Verdict::Error => failed(NonSuccessKind::Error),
        Verdict::Skip => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(outcome.reason.clone());
            status
        }
        Verdict::Inconclusive => {
            // The format has no word for it; nothing is said of the claim, as of a skipped one.
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("inconclusive: {}", outcome.reason));
            status
        }
    };
    let name = match &outcome.fault {
        Some(fault) => format!("{} under '{fault}'", outcome.check),
        None => outcome.check.clone(),
    };
    let mut case = TestCase::new(name, status);
    // Dots make packages of it, and a row's name has them.
    let row = if place.is_empty() { String::new() } else { format!("{}.", place.replace('.', "_")) };
    case.set_classname(format!("plimsoll.{row}{}.{}", outcome.subject, outcome.area().0));
    case.set_time(Duration::from_millis(outcome.duration_ms));
    case.set_system_out(outcome.claim.clone());
    case
}

/// JUnit XML.
#[derive(Debug)]
pub struct Junit;

impl Form for Junit {
    fn name(&self) -> &'static str {
        "junit"
    }

    fn about(&self) -> &'static str {
        "JUnit XML, for continuous integration"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        let all = records.flat();
        junit(&form::borrowed(&all)).map(Product::Text)
    }
}
