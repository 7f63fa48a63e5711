//! The page of a fleet: kernels and layouts, what fails where, and hosts that are not as their group.

use maud::{Markup, html};
use record::Verdict;

use super::frame::{class, document};
use crate::fleet::Fleet;

/// The page of many hosts.
pub fn fleet_page(fleet: &Fleet) -> String {
    let title = format!("Plimsoll: {} hosts", fleet.hosts());
    let body = html! {
        header {
            h1 { (title) }
            p.total { (fleet.counts().to_string()) }
            p.facts {
                (fleet.verdicts) " verdicts"
                @for broken in &fleet.broken { br; span.fail { "not read: " (broken) } }
            }
        }
        main {
            section {
                h2 { "Hosts that are not as their group" }
                @if fleet.outliers.is_empty() { p { "none" } }
                ul { @for (host, checks) in &fleet.outliers { li { b { (host) } ": " (checks.join(", ")) } } }
            }
            section {
                h2 { "Kernels and layouts" }
                ul { @for ((kernel, layout), count) in &fleet.groups { li { (kernel) " " (layout) ": " (count) " hosts" } } }
            }
            (checks(fleet))
        }
    };
    document(&title, &body)
}

/// Checks by groups, those that fail first: how many hosts of the group say what.
fn checks(fleet: &Fleet) -> Markup {
    let fails = |number: &usize| {
        fleet.checks.values().nth(*number).is_some_and(|groups| {
            groups.values().any(|tally| tally.of(Verdict::Fail) + tally.of(Verdict::Error) > 0)
        })
    };
    let (bad, good): (Vec<usize>, Vec<usize>) = (0..fleet.checks.len()).partition(fails);
    let all: Vec<_> = fleet.checks.iter().collect();
    let shown = [Verdict::Fail, Verdict::Error, Verdict::Inconclusive, Verdict::Skip, Verdict::Pass];
    html! {
        section.scroll tabindex="0" role="region" aria-label="Checks by groups" {
            table.matrix {
                thead { tr {
                    th scope="col" { "check" }
                    @for (kernel, layout) in fleet.groups.keys() { th scope="col" { (kernel) br; (layout) } }
                } }
                tbody {
                    @for ((check, subject), groups) in bad.iter().chain(&good).map(|number| all[*number]) {
                        tr {
                            th.id scope="row" { (check) " (" (subject) ")" }
                            @for group in fleet.groups.keys() {
                                td {
                                    @for (verdict, count) in shown.iter().filter_map(|verdict| {
                                        let count = groups.get(group).map_or(0, |tally| tally.of(*verdict));
                                        (count > 0).then_some((*verdict, count))
                                    }) { span class=(class(verdict)) { (count) " " (verdict.word()) } " " }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
