//! The page of one run.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};
use record::{Area, Outcome, Run, SubjectInfo};

use super::bar;
use super::frame::{attention, class, document, filters, pictures};
use crate::charts::{charts, samples};
use crate::summary::summary;

/// The page of one run.
pub fn page(run: &Run) -> String {
    let host = &run.host;
    let title = format!("Plimsoll: Linux {}", host.kernel);
    let mut areas: BTreeMap<usize, (Area, Vec<&Outcome>)> = BTreeMap::new();
    for outcome in &run.outcomes {
        let area = outcome.area();
        let place =
            areas.iter().find(|(_, (known, _))| *known == area).map_or(areas.len(), |(place, _)| *place);
        areas.entry(place).or_insert_with(|| (area, Vec::new())).1.push(outcome);
    }
    // Failures come first.
    for (_, outcomes) in areas.values_mut() {
        outcomes.sort_by_key(|outcome| std::cmp::Reverse(attention(outcome.shown())));
    }
    let mut areas: Vec<(Area, Vec<&Outcome>)> = areas.into_values().collect();
    let worst = |outcomes: &[&Outcome]| outcomes.first().map_or(0, |outcome| attention(outcome.shown()));
    areas.sort_by_key(|(_, outcomes)| std::cmp::Reverse(worst(outcomes)));
    let body = html! {
        header {
            h1 { (title) }
            p.total { (summary(run)) }
            p.facts {
                (host.architecture) ", cgroup " (host.cgroup_mode) ", " (host.cpus) " CPUs, "
                (host.memory_bytes >> 20) " MiB"
                @if !host.virtualization.is_empty() { ", " (host.virtualization) }
                @if !host.privileged { ", without root" }
                "; started " (run.started) "; plimsoll " (run.plimsoll) ", run " (run.id)
                @for subject in &run.subjects { br; (subject.name) ": " (subject.version) " (" (subject.path) ")" }
                @for left in &run.left_behind { br; span.fail { "left behind: " (left) } }
            }
        }
        (filters(areas.iter().map(|(area, _)| area.0.as_str())))
        main {
            @for (area, outcomes) in &areas {
                section.area {
                    h2 { (area.0) }
                    @for outcome in outcomes { (check(outcome, &run.subjects)) }
                }
            }
            (pictures(&charts(run)))
        }
    };
    document(&title, &body)
}

/// The command that tries a check again, with the same program.
fn again(outcome: &Outcome, subjects: &[SubjectInfo]) -> String {
    let mut text = match &outcome.fault {
        Some(_) => format!("plimsoll prove {}", outcome.check),
        None => format!("plimsoll check {} --verbose", outcome.check),
    };
    if outcome.subject != "kernel" {
        // `core` is no program of its own. Of all others the path says which one it was.
        let path = subjects
            .iter()
            .find(|subject| subject.name == outcome.subject && subject.name != "core")
            .map(|subject| &subject.path);
        let word = path.unwrap_or(&outcome.subject);
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:".contains(c);
        let quoted =
            if word.chars().all(plain) { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) };
        text.push_str(&format!(" --subject {quoted}"));
    }
    text
}

/// The address of a check in the page.
fn anchor(outcome: &Outcome) -> String {
    let fault =
        outcome.fault.as_ref().map(|fault| format!("-{}", fault.replace(' ', "-"))).unwrap_or_default();
    format!("{}-{}{fault}", outcome.check, outcome.subject)
}

fn check(outcome: &Outcome, subjects: &[SubjectInfo]) -> Markup {
    let text =
        format!("{} {} {} {}", outcome.check, outcome.subject, outcome.claim, outcome.reason).to_lowercase();
    html! {
        details.check id=(anchor(outcome)) data-verdict=(class(outcome.shown())) data-area=(outcome.area().0) data-text=(text) {
            summary {
                span class={ "verdict " (class(outcome.shown())) } { (outcome.shown().word()) }
                span.id { (outcome.check) " (" (outcome.subject) ")" }
                span.claim { (outcome.claim) @if !outcome.reason.is_empty() { br; (outcome.reason) } }
            }
            div.evidence { (evidence(outcome, subjects)) }
        }
    }
}

fn evidence(outcome: &Outcome, subjects: &[SubjectInfo]) -> Markup {
    let seen = &outcome.evidence;
    html! {
        dl {
            @if !outcome.source.is_empty() { dt { "Source" } dd { (outcome.source) } }
            @if let Some(fault) = &outcome.fault { dt { "Broken on purpose" } dd { (fault) } }
            @if !outcome.proved_by.is_empty() { dt { "Must fail under" } dd { (outcome.proved_by.join("; ")) } }
            dt { "Again" }
            dd { code { (again(outcome, subjects)) } }
            dt { "Took" } dd { (outcome.duration_ms) " ms" @if outcome.attempts > 1 { ", " (outcome.attempts) " attempts" } }
            dt { "Link" } dd { a href={ "#" (anchor(outcome)) } { (anchor(outcome)) } }
        }
        @if !seen.expectations.is_empty() {
            table {
                thead { tr { th scope="col" { "" } th scope="col" { "Looked at" } th scope="col" { "Observed" } th scope="col" { "Expected" } } }
                tbody {
                    @for expectation in &seen.expectations {
                        tr {
                            td class=(if expectation.holds { "pass" } else { "fail" }) { (if expectation.holds { "passed" } else { "FAILED" }) }
                            td { (expectation.what) @if !expectation.tolerance.is_empty() { br; span.claim { (expectation.tolerance) } } }
                            td { (expectation.observed) (bar::of(expectation)) }
                            td { (expectation.expected) }
                        }
                    }
                }
            }
        }
        @for note in &seen.notes { p.claim { (note) } }
        @for series in &seen.series {
            @match samples(series) {
                Some(chart) => figure { (PreEscaped(&chart.svg)) figcaption { (series.name) ", " (series.unit) } },
                None => p { (series.name) ": " (numbers(&series.values)) " " (series.unit) },
            }
        }
        @for file in &seen.files {
            p.claim { code { (file.path) } ", " (file.moment) }
            pre tabindex="0" { (file.text) }
        }
    }
}

fn numbers(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(", ")
}
