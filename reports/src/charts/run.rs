//! Charts of what a run measured.

use plotters::prelude::*;
use record::{Run, Series};

use super::draw::{Area, BLUE, Chart, Drawn, INK, SIZE, draw_sized, ink, largest, series, whole};
use super::timeline;

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

fn draw(name: &str, title: &str, paint: impl FnOnce(&Area<'_>) -> Drawn) -> Option<Chart> {
    draw_sized(name, title, SIZE, paint)
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
