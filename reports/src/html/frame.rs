//! What all pages share.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use record::Verdict;

use crate::charts::Chart;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// Charts, if there are any.
pub(super) fn pictures(drawn: &[Chart]) -> Markup {
    html! {
        @if !drawn.is_empty() {
            section #charts {
                h2 { "Charts" }
                @for chart in drawn {
                    figure id={ "chart-" (chart.name) } { (PreEscaped(&chart.svg)) figcaption { (chart.title) } }
                }
            }
        }
    }
}

/// The frame of every page.
pub(super) fn document(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Nothing may be fetched, and an icon would be asked for.
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

pub(super) fn filters<'a>(areas: impl Iterator<Item = &'a str>) -> Markup {
    html! {
        form aria-label="Filter the checks" {
            @for verdict in [Verdict::Fail, Verdict::Error, Verdict::Inconclusive, Verdict::Skip, Verdict::Pass] {
                label {
                    input type="checkbox" name="verdict" value=(class(verdict)) checked;
                    " " span class=(class(verdict)) { (verdict.word()) }
                }
            }
            label { "Area " select name="area" {
                option value="" { "all" }
                @for area in areas { option value=(area) { (area) } }
            } }
            label { "Text " input type="search" name="text"; }
            output #shown {}
        }
    }
}

/// What asks to be looked at, first of all; passes and skips alike stay in their order.
pub(super) fn attention(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Fail => 3,
        Verdict::Error => 2,
        Verdict::Inconclusive => 1,
        Verdict::Pass | Verdict::Skip => 0,
    }
}

pub(super) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Skip => "skip",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Error => "error",
    }
}
