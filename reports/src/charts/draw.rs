//! What all charts share.

use plotters::coord::Shift;
use plotters::prelude::*;
use record::{Outcome, Series};

/// Text and axes; replaced by the page's own text colour.
pub(super) const INK: RGBColor = RGBColor(1, 2, 3);
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(super) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(super) const SIZE: (u32, u32) = (720, 260);

/// A drawn chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// Its file name without an end, such as `throttling-core`.
    pub name: String,
    /// What it shows, in a sentence.
    pub title: String,
    /// The picture.
    pub svg: String,
}

impl Chart {
    /// The picture as a file of its own, where there is no text colour to take over: dark on a light page and light on a dark one.
    pub fn standalone(&self) -> String {
        const STYLE: &str =
            "<style>svg{color:#24292f}@media(prefers-color-scheme:dark){svg{color:#d6dbe1}}</style>";
        // Attributes hold no quotation marks.
        match self.svg.split_once("\">") {
            Some((start, rest)) => format!("{start}\">{STYLE}{rest}"),
            None => self.svg.clone(),
        }
    }
}

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Why a chart could not be drawn.
pub(super) type DrawError = DrawingAreaErrorKind<std::io::Error>;
pub(super) type Drawn = Result<(), DrawError>;

pub(super) fn series<'a>(outcome: &'a Outcome, name: &str) -> Option<&'a Series> {
    outcome.evidence.series.iter().find(|series| series.name == name && !series.values.is_empty())
}

pub(super) fn draw_sized(
    name: &str,
    title: &str,
    size: (u32, u32),
    paint: impl FnOnce(&Area<'_>) -> Drawn,
) -> Option<Chart> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        // A chart that cannot be drawn is left out; its numbers are in the evidence.
        paint(&area).ok()?;
        area.present().ok()?;
    }
    let svg = svg.replace("#010203", "currentColor").replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{}\" ", title.replace('"', "'").replace('<', "&lt;")),
        1,
    );
    Some(Chart { name: name.to_owned(), title: title.to_owned(), svg })
}

pub(super) fn ink() -> TextStyle<'static> {
    ("sans-serif", 13).into_font().color(&INK)
}

pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Milliseconds and percents have no decimals on an axis.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as the library asks for it")]
pub(super) fn whole(value: &f64) -> String {
    format!("{value:.0}")
}
