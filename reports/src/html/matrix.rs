//! Checks by kernels: what differs between them comes first, and each cell opens its evidence.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};
use serde::Serialize;

use super::frame::{attention, class, document, filters};
use record::matrix::{Matrix, Row};
use record::{Expectation, Outcome, Verdict};

/// Outcomes of one check in one row, by their numbers.
type Cell = Vec<usize>;

/// The page of a matrix.
pub fn matrix_page(matrix: &Matrix) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut cells: BTreeMap<&str, Vec<Cell>> = BTreeMap::new();
    for (column, row) in matrix.rows.iter().enumerate() {
        for (number, outcome) in row.run.iter().flat_map(|run| &run.outcomes).enumerate() {
            if !cells.contains_key(outcome.check.as_str()) {
                order.push(&outcome.check);
            }
            cells.entry(&outcome.check).or_insert_with(|| vec![Cell::new(); matrix.rows.len()])[column]
                .push(number);
        }
    }
    let (mut differing, same): (Vec<&str>, Vec<&str>) =
        order.iter().partition(|check| differs(matrix, cells.get(**check).map_or(&[][..], Vec::as_slice)));
    // What fails somewhere comes before what is only skipped here and there.
    let most = |check: &str| {
        let cells = cells.get(check).map_or(&[][..], Vec::as_slice);
        cells.iter().enumerate().filter_map(|(row, cell)| worst(matrix, row, cell)).map(attention).max()
    };
    differing.sort_by_key(|check| std::cmp::Reverse(most(check)));
    let mut areas: Vec<&str> = order.iter().filter_map(|check| check.split('.').next()).collect();
    areas.dedup();
    let title = format!("Plimsoll: {} kernels", matrix.rows.len());
    let body = html! {
        (header(matrix, &title, order.len(), differing.len()))
        (filters(areas.into_iter()))
        main.scroll tabindex="0" role="region" aria-label="Checks by rows" {
            table.matrix {
                thead { tr {
                    th scope="col" { "check" }
                    @for row in &matrix.rows {
                        th.fail[row.run.is_none()] scope="col" title=[row.run.is_none().then_some(&row.failure)] {
                            (row.name) @if row.run.is_none() { br; "row failed" }
                        }
                    }
                } }
                tbody {
                    @for check in differing.iter().chain(&same) {
                        (line(matrix, check, cells.get(*check).map_or(&[][..], Vec::as_slice)))
                    }
                }
            }
        }
        dialog aria-label="Evidence" { form method="dialog" { button { "Close" } } div {} }
        // A closing tag in a text would end the script.
        script #data type="application/json" { (PreEscaped(data(matrix))) }
    };
    document(&title, &body)
}

fn header(matrix: &Matrix, title: &str, checks: usize, differing: usize) -> Markup {
    let failed = matrix.rows.iter().filter(|row| row.run.is_none()).count();
    html! {
        header {
            h1 { (title) }
            p.total {
                (checks) " checks, " (differing) " of them not the same everywhere"
                @if failed > 0 { "; " span.fail { (failed) " rows failed" } }
                br; (matrix.shown_counts().to_string())
            }
            p.facts {
                "Each cell is a check in a row: "
                @for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Error, Verdict::Inconclusive, Verdict::Skip] {
                    span class=(class(verdict)) { b { (sign(verdict)) } " " (verdict.word().to_lowercase()) } "  "
                }
                "; empty: not in that row's catalogue. A cell opens its evidence."
            }
            ul.facts { @for row in &matrix.rows { li { (row.name) ": " (facts(row)) } } }
        }
    }
}

fn facts(row: &Row) -> String {
    match &row.run {
        Some(run) => format!("{} ({}): {}", run.host.kernel, row.accelerator, crate::summary::summary(run)),
        None => format!("ERROR: the row failed: {}", row.failure),
    }
}

fn outcome(matrix: &Matrix, row: usize, number: usize) -> Option<&Outcome> {
    matrix.rows.get(row)?.run.as_ref()?.outcomes.get(number)
}

/// The worst of what a cell's outcomes say.
fn worst(matrix: &Matrix, row: usize, cell: &Cell) -> Option<Verdict> {
    cell.iter()
        .filter_map(|number| outcome(matrix, row, *number))
        .map(Outcome::shown)
        .max_by_key(|verdict| verdict.severity())
}

fn differs(matrix: &Matrix, cells: &[Cell]) -> bool {
    let mut verdicts = cells.iter().enumerate().filter_map(|(row, cell)| worst(matrix, row, cell));
    let first = verdicts.next();
    verdicts.any(|verdict| Some(verdict) != first)
        || first.is_some_and(|verdict| matches!(verdict, Verdict::Fail | Verdict::Error))
}

fn line(matrix: &Matrix, check: &str, cells: &[Cell]) -> Markup {
    let verdicts: Vec<Option<Verdict>> =
        cells.iter().enumerate().map(|(row, cell)| worst(matrix, row, cell)).collect();
    let shown = [Verdict::Fail, Verdict::Error, Verdict::Inconclusive, Verdict::Pass, Verdict::Skip];
    let verdict =
        shown.into_iter().find(|verdict| verdicts.contains(&Some(*verdict))).unwrap_or(Verdict::Skip);
    let claim = cells.iter().enumerate().find_map(|(row, cell)| outcome(matrix, row, *cell.first()?));
    let claim = claim.map_or("", |outcome| outcome.claim.as_str());
    html! {
        tr id=(check) data-verdict=(class(verdict)) data-area=(check.split('.').next().unwrap_or_default())
            data-text=(format!("{check} {claim}").to_lowercase()) {
            th.id scope="row" title=(claim) { (check) }
            @for (row, verdict) in verdicts.iter().enumerate() {
                td {
                    @if let Some(verdict) = verdict {
                        @let numbers = cells[row].iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
                        button.(class(*verdict)) data-row=(row) data-check=(check) data-outcomes=(numbers)
                            aria-label={ (sign(*verdict)) ": " (check) " in " (matrix.rows[row].name) ", " (verdict.word()) } { (sign(*verdict)) }
                    }
                }
            }
        }
    }
}

fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "ok",
        Verdict::Fail => "FAIL",
        Verdict::Skip => "-",
        Verdict::Inconclusive => "?",
        Verdict::Error => "ERR",
    }
}

/// What the page's script shows of a row when a cell is opened.
#[derive(Debug, Serialize)]
struct RowData<'a> {
    name: &'a str,
    /// Why the row did not run; empty if it did.
    failure: String,
    outcomes: Vec<CellData<'a>>,
}

#[derive(Debug, Serialize)]
struct CellData<'a> {
    subject: &'a str,
    verdict: &'static str,
    reason: &'a str,
    claim: &'a str,
    expectations: &'a [Expectation],
    notes: &'a [String],
}

fn row_data(row: &Row) -> RowData<'_> {
    RowData {
        name: &row.name,
        failure: if row.run.is_none() { row.to_run().outcomes[0].reason.clone() } else { String::new() },
        outcomes: row.run.iter().flat_map(|run| &run.outcomes).map(cell_data).collect(),
    }
}

fn cell_data(outcome: &Outcome) -> CellData<'_> {
    CellData {
        subject: &outcome.subject,
        verdict: outcome.shown().word(),
        reason: &outcome.reason,
        claim: &outcome.claim,
        expectations: &outcome.evidence.expectations,
        notes: &outcome.evidence.notes,
    }
}

/// The data as JSON, escaped for a page.
fn data(matrix: &Matrix) -> String {
    let rows: Vec<RowData<'_>> = matrix.rows.iter().map(row_data).collect();
    let text = serde_json::to_string(&rows).expect("texts, numbers and lists of them can be written as JSON");
    text.replace("</", "<\\/")
}
