//! The page of a benchmark: charts first, then every figure.

use maud::{Markup, html};

use super::frame::{document, pictures};
use crate::bench::trial;
use crate::charts::bench_charts;
use record::bench::{Bench, EQUIVALENT, Finding, Measured, Side};

/// The page of one session.
pub fn bench_page(bench: &Bench) -> String {
    let host = &bench.host;
    let title = format!("Plimsoll: what it costs on Linux {}", host.kernel);
    let (rows, differ, off, pairs) = trial(bench);
    let body = html! {
        header {
            h1 { (title) }
            p.total {
                (bench.rows.len()) " rows"
                @if rows > 0 { "; the method saw a difference of the base to itself in " (differ) " of " (rows) }
            }
            p.facts {
                (host.architecture) ", cgroup " (host.cgroup_mode) ", " (host.cpus) " CPUs"
                @if !host.virtualization.is_empty() { ", " (host.virtualization) }
                "; started " (bench.started) ", " (bench.duration_ms / 1000) " s; plimsoll " (bench.plimsoll)
                @if pairs > 0 { br; (off) " of " (pairs) " intervals of 95 % of a base to itself leave 1 out" }
                @for missing in &bench.missing { br; span.skip { "not measured: " (missing) } }
            }
        }
        main {
            (pictures(&bench_charts(bench)))
            section.scroll {
                h2 { "Figures" }
                table.matrix {
                    thead { tr {
                        @for word in ["what", "side", "median", "interval", "to the base", "interval", "rounds"] { th scope="col" { (word) } }
                    } }
                    tbody { @for row in &bench.rows { (figures(row)) } }
                }
            }
            @if !bench.throttled.is_empty() { (quotas(bench)) }
        }
    };
    document(&title, &body)
}

fn figures(row: &Measured) -> Markup {
    html! {
        @for (number, side) in row.sides.iter().enumerate() {
            tr {
                th scope="row" { @if number == 0 { (row.name) " (floor " (format!("{:.1}", row.floor * 100.0)) " %)" } }
                (figure(row, side))
            }
        }
    }
}

fn figure(row: &Measured, side: &Side) -> Markup {
    if !side.missing.is_empty() {
        return html! { td { (side.name) } td colspan="5" { "not measured: " (side.missing) } };
    }
    let narrow = side.coverage.filter(|coverage| *coverage < 0.95);
    let interval = |low: f64, high: f64, digits: usize| {
        let part = narrow.map(|coverage| format!(" (of {:.0} % only)", coverage * 100.0)).unwrap_or_default();
        format!("{low:.digits$} to {high:.digits$}{part}")
    };
    html! {
        td { (side.name) @if !side.note.is_empty() { ", " (side.note) } }
        td { (format!("{:.1} {}", side.median, row.unit)) }
        td { (interval(side.low, side.high, 1)) }
        @if let Some(ratio) = side.ratio {
            @match ratio.finding(row.floor) {
                Finding::Different => td { b { (format!("x {:.3}", ratio.median)) } },
                Finding::Same => td { (format!("the same within {:.0} %", EQUIVALENT * 100.0)) },
                Finding::Undecided => td { "undecided" },
            }
            td { (interval(ratio.low, ratio.high, 3)) }
        } @else { td {} td {} }
        td { (side.rounds) @if side.outliers > 0 { ", " (side.outliers) " far off" } }
    }
}

fn quotas(bench: &Bench) -> Markup {
    let heads = [
        "quota",
        "period, ms",
        "burst, ms",
        "threads",
        "load",
        "50 %",
        "90 %",
        "99 %",
        "99.9 %",
        "longest, us",
        "throttled",
    ];
    html! {
        section.scroll {
            h2 { "Latency of work under a quota" }
            table.matrix {
                thead { tr { @for word in heads { th scope="col" { (word) } } } }
                tbody {
                    @for row in &bench.throttled {
                        tr {
                            th scope="row" { (row.quota_percent) " %" }
                            @for value in [row.period_us / 1000, row.burst_us / 1000, u64::from(row.threads)] { td { (value) } }
                            td { @if let Some(load) = row.load_percent { (load) " %" } @else { "full" } }
                            @for value in [row.p50_us, row.p90_us,
                                row.p99_us, row.p999_us, row.longest_us] { td { (value) } }
                            td { (row.throttled_periods.0) " of " (row.throttled_periods.1) " periods" }
                        }
                    }
                }
            }
        }
    }
}
