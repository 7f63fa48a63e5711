//! Charts of what checks measured, as SVG: labels in the reader's text colour, and colours that the colour-blind tell apart
//! (Okabe and Ito).

mod bench;
mod timeline;

use crate::form::{Form, Look, Product, Records, Refused};
use plotters::coord::Shift;
use plotters::prelude::*;

pub use bench::bench_charts;

use record::{Outcome, Run, Series};

/// Text and axes; replaced by the page's own text colour.
const INK: RGBColor = RGBColor(1, 2, 3);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const SIZE: (u32, u32) = (720, 260);

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

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// All charts that a run has the samples for.
pub fn charts(run: &Run) -> Vec<Chart> {
    let mut all = Vec::new();
    for outcome in run.outcomes.iter().filter(|outcome| outcome.fault.is_none()) {
        let subject = &outcome.subject;
        match outcome.check.as_str() {
            "cpu.throttle.gap-shape" => {
                all.extend(timeline::chart(outcome));
                if let Some(stalls) = series(outcome, "stalls") {
                    let title = format!("How long the stalls under a CPU quota were ({subject})");
                    all.extend(draw(&format!("stalls-{subject}"), &title, |area| histogram(area, stalls)));
                }
            }
            "cpu.quota.sweep" => {
                if let (Some(asked), Some(got)) = (series(outcome, "asked"), series(outcome, "got")) {
                    let title =
                        format!("CPU time that a quota asked for, and what the group got ({subject})");
                    all.extend(draw(&format!("sweep-{subject}"), &title, |area| sweep(area, asked, got)));
                }
            }
            _ => {}
        }
    }
    all
}

/// A small chart of any samples, in the order in which they were taken.
pub fn samples(series: &Series) -> Option<Chart> {
    if series.values.len() < 3 {
        return None;
    }
    draw("samples", &series.name, |area| dots(area, series))
}

fn series<'a>(outcome: &'a Outcome, name: &str) -> Option<&'a Series> {
    outcome.evidence.series.iter().find(|series| series.name == name && !series.values.is_empty())
}

fn draw(name: &str, title: &str, paint: impl FnOnce(&Area<'_>) -> Drawn) -> Option<Chart> {
    draw_sized(name, title, SIZE, paint)
}

fn draw_sized(
    name: &str,
    title: &str,
    size: (u32, u32),
    paint: impl FnOnce(&Area<'_>) -> Drawn,
) -> Option<Chart> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        // A chart that cannot be drawn is left out; its numbers stand in the evidence.
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

fn ink() -> TextStyle<'static> {
    ("sans-serif", 13).into_font().color(&INK)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn histogram(area: &Area<'_>, stalls: &Series) -> Drawn {
    const BARS: usize = 24;
    let most = largest(&stalls.values) * 1.05;
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    let width = most / BARS as f64;
    let mut counts = [0_u32; BARS];
    for value in &stalls.values {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by the largest value"
        )]
        let bar = (value / width) as usize;
        counts[bar.min(BARS - 1)] += 1;
    }
    let tallest = counts.iter().copied().max().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..most, 0..tallest + 1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(INK.mix(0.08))
        .bold_line_style(INK.mix(0.15))
        .x_desc("length of a stall, ms")
        .x_label_formatter(&whole)
        .y_desc("stalls")
        .axis_style(INK)
        .label_style(ink())
        .axis_desc_style(ink())
        .draw()?;
    chart.draw_series(counts.iter().enumerate().map(|(bar, count)| {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let left = bar as f64 * width;
        Rectangle::new([(left + width * 0.08, 0), (left + width * 0.92, *count)], BLUE.filled())
    }))?;
    Ok(())
}

fn sweep(area: &Area<'_>, asked: &Series, got: &Series) -> Drawn {
    let most = largest(&asked.values).max(largest(&got.values)) * 1.08;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(54)
        .build_cartesian_2d(0.0..most, 0.0..most)?;
    chart
        .configure_mesh()
        .light_line_style(INK.mix(0.06))
        .bold_line_style(INK.mix(0.12))
        .x_desc("asked, % of a CPU")
        .y_desc("got, % of a CPU")
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .axis_style(INK)
        .label_style(ink())
        .axis_desc_style(ink())
        .draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (most, most)], INK.mix(0.4)))?;
    chart.draw_series(
        asked
            .values
            .iter()
            .zip(&got.values)
            .map(|(asked, got)| Circle::new((*asked, *got), 5, BLUE.filled())),
    )?;
    Ok(())
}

fn dots(area: &Area<'_>, series: &Series) -> Drawn {
    let least = series.values.iter().copied().fold(0.0, f64::min);
    let most = largest(&series.values).max(least + 1e-9) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(60)
        .build_cartesian_2d(0..series.values.len() + 1, least..most)?;
    let unit = format!("{}, {}", "value", series.unit);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(INK.mix(0.06))
        .bold_line_style(INK.mix(0.12))
        .x_desc("sample")
        .y_desc(unit)
        .axis_style(INK)
        .label_style(ink())
        .axis_desc_style(ink())
        .draw()?;
    chart.draw_series(
        series
            .values
            .iter()
            .enumerate()
            .map(|(number, value)| Circle::new((number + 1, *value), 4, BLUE.filled())),
    )?;
    Ok(())
}

/// Milliseconds and percents have no decimals on an axis.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as the library asks for it")]
fn whole(value: &f64) -> String {
    format!("{value:.0}")
}

/// Charts, as files.
#[derive(Debug)]
pub struct Charts;

impl Form for Charts {
    fn name(&self) -> &'static str {
        "charts"
    }

    fn about(&self) -> &'static str {
        "Charts, as SVG files in the directory of --output"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        let named = records.named();
        files(named.iter().map(|(name, run)| (name.as_str(), charts(run))))
    }

    fn benches(&self, benches: &[(String, record::bench::Bench)]) -> Result<Product, Refused> {
        files(benches.iter().map(|(name, bench)| (name.as_str(), bench_charts(bench))))
    }
}

fn files<'n>(drawn: impl Iterator<Item = (&'n str, Vec<Chart>)>) -> Result<Product, Refused> {
    let files: Vec<_> = drawn
        .flat_map(|(name, charts)| charts.into_iter().map(move |chart| (name, chart)))
        .map(|(name, chart)| (format!("{name}-{}.svg", chart.name), chart.title.clone(), chart.standalone()))
        .collect();
    if files.is_empty() {
        return Err(Refused(
            "no record has the samples for a chart: run the checks of cpu., or a benchmark".into(),
        ));
    }
    Ok(Product::Files(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_drawn_in_the_readers_colour_and_named_for_those_who_do_not_see() {
        let series = Series { name: "stalls \"<x>\"".into(), unit: "ms".into(), values: vec![1.0, 5.0, 3.0] };
        let chart = samples(&series).unwrap();
        assert!(
            chart.svg.starts_with("<svg role=\"img\" aria-label=\"stalls '&lt;x>'\""),
            "{}",
            &chart.svg[..120]
        );
        assert!(chart.svg.contains("currentColor") && !chart.svg.contains("#010203"));
        let alone = chart.standalone();
        assert!(
            alone.starts_with("<svg ")
                && alone.contains("\"><style>svg{color:#24292f}@media(prefers-color-scheme:dark)"),
            "{alone}"
        );
        assert!(samples(&Series { values: vec![1.0], ..series }).is_none());
    }
}
