//! CPU throttling along the time: when a busy thread ran and when it stood, and what it used in each period beside its quota.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use record::{Outcome, Series};

use super::draw::{Area, BLUE, Chart, Drawn, GREEN, INK, ORANGE, draw_sized, ink, series, whole};

const SIZE: (u32, u32) = (720, 320);

/// What is drawn, in milliseconds from the first stall's start.
struct Timeline {
    /// Starts and ends of the stalls.
    stalls: Vec<(f64, f64)>,
    /// The quota, where the record tells it.
    quota: Option<f64>,
    /// The period: as it was asked for, or the median of what was seen.
    period: f64,
}

/// From one end of a stall, which is where a period begins, to the next, and the time that the thread ran between.
struct Used {
    from: f64,
    to: f64,
    ran: f64,
}

impl Timeline {
    fn of(outcome: &Outcome) -> Option<Self> {
        let (starts, lengths) = (series(outcome, "start of each stall")?, series(outcome, "stalls")?);
        let first = *starts.values.first()?;
        let ends = starts.values.iter().zip(&lengths.values);
        let stalls: Vec<(f64, f64)> =
            ends.map(|(start, length)| (start - first, start - first + length)).collect();
        let asked = series(outcome, "quota and period")
            .and_then(|asked| <[f64; 2]>::try_from(asked.values.as_slice()).ok());
        let seen = series(outcome, "from the end of a stall to that of the next").map(middle);
        Some(Self {
            quota: asked.map(|[quota, _]| quota),
            period: asked.map(|[_, period]| period).or(seen)?,
            stalls,
        })
    }

    fn used(&self) -> Vec<Used> {
        let pairs = self.stalls.windows(2);
        pairs.map(|pair| Used { from: pair[0].1, to: pair[1].1, ran: pair[1].0 - pair[0].1 }).collect()
    }

    /// Part of the time in which it stood, of whole periods alone.
    fn stood(&self) -> f64 {
        let used = self.used();
        let (all, ran) =
            used.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.to - one.from, sum.1 + one.ran));
        if all > 0.0 { 1.0 - ran / all } else { 0.0 }
    }
}

fn middle(series: &Series) -> f64 {
    let mut values = series.values.clone();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The chart of an outcome that has the samples.
pub(super) fn chart(outcome: &Outcome) -> Option<Chart> {
    let timeline = Timeline::of(outcome)?;
    let asked = timeline
        .quota
        .map(|quota| format!(" of {quota:.0} ms in {:.0} ms", timeline.period))
        .unwrap_or_default();
    let title = format!(
        "A busy thread under a CPU quota{asked}: it stood {:.1} % of the time ({})",
        timeline.stood() * 100.0,
        outcome.subject
    );
    draw_sized(&format!("throttling-{}", outcome.subject), &title, SIZE, |area| {
        paint(area, &timeline, &title)
    })
}

fn paint(area: &Area<'_>, timeline: &Timeline, title: &str) -> Drawn {
    let left = |at| ink().pos(Pos::new(at, VPos::Center));
    area.draw(&Text::new(title.to_owned(), (12, 14), left(HPos::Left)))?;
    key(area, timeline)?;
    let used = timeline.used();
    let most = used.iter().map(|used| used.ran).chain(timeline.quota).fold(1.0, f64::max);
    let end = timeline.stalls.last().map_or(1.0, |stall| stall.1);
    let top = most * 1.6;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_top(52)
        .x_label_area_size(38)
        .y_label_area_size(54)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(INK.mix(0.04))
        .bold_line_style(INK.mix(0.12))
        .x_desc("time, ms")
        .y_desc("CPU time in a period, ms")
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .axis_style(INK)
        .label_style(ink())
        .axis_desc_style(ink())
        .draw()?;
    // A strip above all: one thing at a time, and nothing over it.
    let strip = |from: f64, to: f64| [(from, most * 1.3), (to, most * 1.5)];
    let mut from = 0.0;
    for (start, stop) in &timeline.stalls {
        if *start > from {
            chart.draw_series(std::iter::once(Rectangle::new(strip(from, *start), GREEN.filled())))?;
        }
        chart.draw_series(std::iter::once(Rectangle::new(strip(*start, *stop), ORANGE.filled())))?;
        from = *stop;
    }
    for (_, refill) in &timeline.stalls {
        chart.draw_series(LineSeries::new([(*refill, 0.0), (*refill, top)], INK.mix(0.3)))?;
    }
    if let Some(quota) = timeline.quota {
        chart.draw_series(DashedLineSeries::new([(0.0, quota), (end, quota)], 6, 4, INK.stroke_width(1)))?;
    }
    let steps = used.iter().flat_map(|used| [(used.from, used.ran), (used.to, used.ran)]);
    chart.draw_series(LineSeries::new(steps, BLUE.stroke_width(2)))?;
    Ok(())
}

/// What the colours and lines mean.
fn key(area: &Area<'_>, timeline: &Timeline) -> Drawn {
    let mut items = vec![
        ("runs", GREEN.mix(1.0), true),
        ("stands", ORANGE.mix(1.0), true),
        ("used in a period", BLUE.mix(1.0), false),
        ("a period begins", INK.mix(0.3), false),
    ];
    if timeline.quota.is_some() {
        items.push(("quota (dashed)", INK.mix(1.0), false));
    }
    let mut left = 66;
    for (name, colour, filled) in items {
        let (top, bottom) = if filled { (30, 40) } else { (34, 36) };
        area.draw(&Rectangle::new([(left, top), (left + 14, bottom)], colour.filled()))?;
        let style = ink().pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(name.to_owned(), (left + 19, 35), style))?;
        left += 40 + 7 * i32::try_from(name.len()).unwrap_or(0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_lies_between_the_ends_of_stalls() {
        let timeline = Timeline {
            stalls: vec![(0.0, 80.0), (100.0, 180.0), (201.0, 280.0)],
            quota: Some(20.0),
            period: 100.0,
        };
        let ran: Vec<f64> = timeline.used().iter().map(|used| used.ran).collect();
        assert_eq!(ran, [20.0, 21.0]);
        assert!((timeline.stood() - (1.0 - 41.0 / 200.0)).abs() < 1e-9);
    }
}
