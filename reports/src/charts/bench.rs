//! Charts of a benchmark: what each side costs, how starts compare, what a quota does, how things grow.

use std::ops::Range;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::draw::{Area, BLUE, Chart, DrawError, Drawn, GREEN, INK, ORANGE, SIZE, draw_sized, ink, whole};
use record::bench::{BASES, Bench, Measured, Side, Throttled};

/// Reddish purple, the fourth of the colours that the colour-blind tell apart.
const PURPLE: RGBColor = RGBColor(204, 121, 167);
const COLOURS: [RGBColor; 4] = [BLUE, ORANGE, GREEN, PURPLE];

type Frame<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Room for names at the left of a chart, and for a row of it, in pixels.
const NAMES: u32 = 170;
const ROW: u32 = 24;

/// All charts that a session has the rows for.
pub fn bench_charts(bench: &Bench) -> Vec<Chart> {
    let mut all = Vec::new();
    // Those of the probe, in nanoseconds; a program in a container has the host beside it too, and is another matter.
    let of_host =
        |row: &&Measured| row.unit == "ns" && row.sides.first().is_some_and(|side| side.name == "host");
    let calls: Vec<&Measured> =
        bench.rows.iter().filter(of_host).filter(|row| !names(&[row]).is_empty()).collect();
    if !calls.is_empty() {
        let title = "What system calls and paths cost in containers, as a multiple of the host, with intervals of 95 %; grey is noise";
        all.extend(draw_sized("overhead", title, tall(calls.len()), |area| overhead(area, &calls)));
    }
    let starts: Vec<(String, &Side)> =
        bench.rows.iter().filter(|row| row.name.starts_with("start-")).flat_map(bars).collect();
    if !starts.is_empty() {
        let title = "From the start of a container that does nothing to its end, beside the floor of what the kernel needs";
        all.extend(draw_sized("starts", title, tall(starts.len()), |area| spans(area, &starts)));
    }
    if bench.throttled.len() > 2 {
        let title = "How long items of work took under a CPU quota: the longest of one thread, by period";
        all.extend(draw_sized("latency", title, SIZE, |area| latencies(area, &bench.throttled)));
    }
    for (row, name, title, across) in [
        ("lookup-by-layers", "layers", "A name of the lowest layer, looked up for the first time", "layers"),
        ("start-among-many", "crowd", "A start among containers that live already", "live containers"),
        ("memory-of-an-idle-container", "memory", "Memory of an idle container", "live containers"),
    ] {
        let Some(row) = bench.rows.iter().find(|found| found.name == row) else { continue };
        let points = growth(row);
        if points.len() > 2 {
            let down = format!("{}, {}", if name == "memory" { "memory" } else { "time" }, row.unit);
            all.extend(draw_sized(name, title, SIZE, |area| curve(area, &points, across, &down)));
        }
    }
    all
}

fn tall(rows: usize) -> (u32, u32) {
    (SIZE.0, 84 + ROW * u32::try_from(rows).unwrap_or(0))
}

/// Names of the sides that are compared with the base.
fn names<'a>(rows: &[&'a Measured]) -> Vec<&'a str> {
    let mut all = Vec::new();
    for side in rows.iter().flat_map(|row| row.sides.iter().skip(BASES)).filter(|side| side.ratio.is_some()) {
        if !all.contains(&side.name.as_str()) {
            all.push(side.name.as_str());
        }
    }
    all
}

fn at(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A name at the left of what is drawn at this height.
fn label(area: &Area<'_>, name: &str, at: (i32, i32)) -> Drawn {
    let style = ink().pos(Pos::new(HPos::Right, VPos::Center));
    area.draw(&Text::new(name.to_owned(), (at.0 - 8, at.1), style))?;
    Ok(())
}

/// Names with their colours in one line above.
fn legend(area: &Area<'_>, names: &[&str]) -> Drawn {
    let mut left = i32::try_from(NAMES).unwrap_or(0);
    for (name, colour) in names.iter().zip(COLOURS) {
        area.draw(&Circle::new((left, 14), 5, colour.filled()))?;
        area.draw(&Text::new(
            (*name).to_owned(),
            (left + 10, 14),
            ink().pos(Pos::new(HPos::Left, VPos::Center)),
        ))?;
        left += 32 + 8 * i32::try_from(name.len()).unwrap_or(0);
    }
    Ok(())
}

/// The frame of a chart with a named row for each thing, to be filled from above.
fn sideways<'a>(
    area: &Area<'a>,
    top: u32,
    across: Range<f64>,
    rows: usize,
    words: &str,
    number: &dyn Fn(&f64) -> String,
) -> Result<Frame<'a>, DrawError> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(top)
        .margin_right(20)
        .margin_left(NAMES)
        .x_label_area_size(38)
        .build_cartesian_2d(across, 0.0..at(rows))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(INK.mix(0.04))
        .bold_line_style(INK.mix(0.12))
        .x_desc(words)
        .x_label_formatter(number)
        .axis_style(INK)
        .label_style(ink())
        .axis_desc_style(ink())
        .draw()?;
    Ok(chart)
}

fn overhead(area: &Area<'_>, rows: &[&Measured]) -> Drawn {
    /// What lies further out is drawn at the edge.
    const EDGES: (f64, f64) = (0.7, 1.6);
    let names = names(rows);
    legend(area, &names)?;
    let ends = rows.iter().flat_map(|row| row.sides.iter().skip(BASES)).filter_map(|side| side.ratio);
    let (mut least, mut most) = (0.95_f64, 1.05_f64);
    ends.for_each(|ratio| (least, most) = (least.min(ratio.low), most.max(ratio.high)));
    let (least, most) = (least.max(EDGES.0) - 0.02, most.min(EDGES.1) + 0.02);
    let mut chart = sideways(area, 28, least..most, rows.len(), "multiple of the host", &|value| {
        RangedCoordf64::format(value)
    })?;
    for (number, row) in rows.iter().enumerate() {
        let base = at(rows.len() - 1 - number);
        let band = [((1.0 - row.floor).max(least), base + 0.05), ((1.0 + row.floor).min(most), base + 0.95)];
        chart.draw_series(std::iter::once(Rectangle::new(band, INK.mix(0.12).filled())))?;
        label(area, &row.name, chart.backend_coord(&(least, base + 0.5)))?;
        for (place, name) in names.iter().take(COLOURS.len()).enumerate() {
            let found = row.sides.iter().find(|side| side.name == *name).and_then(|side| side.ratio);
            let Some(ratio) = found else { continue };
            let height = base + 0.9 - 0.8 * (at(place) + 0.5) / at(names.len().min(COLOURS.len()));
            let inside = |value: f64| value.clamp(least, most);
            let line = [(inside(ratio.low), height), (inside(ratio.high), height)];
            chart.draw_series(LineSeries::new(line, COLOURS[place].stroke_width(2)))?;
            let dot = Circle::new((inside(ratio.median), height), 3, COLOURS[place].filled());
            chart.draw_series(std::iter::once(dot))?;
        }
    }
    Ok(())
}

/// Sides of a row that stand for themselves, with the row's last word before their names.
fn bars(row: &Measured) -> Vec<(String, &Side)> {
    let kind = row.name.rsplit('-').next().unwrap_or_default();
    if kind == "many" {
        return Vec::new();
    }
    let own = row
        .sides
        .iter()
        .enumerate()
        .filter(|(number, side)| !(1..BASES).contains(number) && side.missing.is_empty());
    own.map(|(_, side)| (format!("{kind}: {}", side.name), side)).collect()
}

fn spans(area: &Area<'_>, bars: &[(String, &Side)]) -> Drawn {
    let most = bars.iter().map(|(_, side)| side.high / 1e3).fold(0.0, f64::max) * 1.05;
    let words = "milliseconds, median and interval of 95 %";
    let mut chart = sideways(area, 12, 0.0..most, bars.len(), words, &whole)?;
    for (number, (name, side)) in bars.iter().enumerate() {
        let base = at(bars.len() - 1 - number);
        let colour = if name.contains("floor") { INK.mix(0.35) } else { BLUE.mix(1.0) };
        let bar = [(0.0, base + 0.2), (side.median / 1e3, base + 0.8)];
        chart.draw_series(std::iter::once(Rectangle::new(bar, colour.filled())))?;
        let line = [(side.low / 1e3, base + 0.5), (side.high / 1e3, base + 0.5)];
        chart.draw_series(LineSeries::new(line, INK.stroke_width(2)))?;
        label(area, name, chart.backend_coord(&(0.0, base + 0.5)))?;
    }
    Ok(())
}

fn latencies(area: &Area<'_>, rows: &[Throttled]) -> Drawn {
    let mut periods: Vec<u64> = rows.iter().map(|row| row.period_us).collect();
    periods.sort_unstable();
    periods.dedup();
    let words: Vec<String> = periods.iter().map(|period| format!("period {} ms", period / 1000)).collect();
    legend(area, &words.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(20)
        .margin_left(12)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d((4.0..130.0).log_scale(), (0.05..2000.0).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(INK.mix(0.04))
        .bold_line_style(INK.mix(0.12))
        .x_desc("quota, % of a CPU")
        .x_labels(4)
        .y_desc("longest item, ms")
        .x_label_formatter(&|value| format!("{value}"))
        .y_label_formatter(&|value| format!("{value}"))
        .axis_style(INK)
        .label_style(ink())
        .axis_desc_style(ink())
        .draw()?;
    for (period, colour) in periods.iter().zip(COLOURS) {
        let own = rows.iter().filter(|row| {
            row.period_us == *period && row.threads == 1 && row.burst_us == 0 && row.load_percent.is_none()
        });
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let points: Vec<(f64, f64)> =
            own.map(|row| (f64::from(row.quota_percent), row.longest_us as f64 / 1e3)).collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
    }
    Ok(())
}

/// The number that begins a side's name, and its median with its interval.
fn growth(row: &Measured) -> Vec<(f64, [f64; 3])> {
    let own = row.sides.iter().enumerate().filter(|(number, side)| {
        side.missing.is_empty() && (side.ratio.is_none() || !(1..BASES).contains(number))
    });
    own.filter_map(|(_, side)| {
        Some((side.name.split(' ').next()?.parse().ok()?, [side.low, side.median, side.high]))
    })
    .collect()
}

fn curve(area: &Area<'_>, points: &[(f64, [f64; 3])], across: &str, down: &str) -> Drawn {
    let most = points.iter().map(|(_, values)| values[2]).fold(0.0, f64::max) * 1.1;
    let last = points.iter().map(|(number, _)| *number).fold(1.0, f64::max) * 1.2;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d((0.9..last).log_scale(), 0.0..most)?;
    chart
        .configure_mesh()
        .light_line_style(INK.mix(0.04))
        .bold_line_style(INK.mix(0.12))
        .x_desc(across)
        .y_desc(down)
        .x_label_formatter(&|value| format!("{value}"))
        .y_label_formatter(&whole)
        .axis_style(INK)
        .label_style(ink())
        .axis_desc_style(ink())
        .draw()?;
    let medians = points.iter().map(|(number, values)| (*number, values[1]));
    chart.draw_series(LineSeries::new(medians.clone(), BLUE.stroke_width(2)))?;
    for (number, [low, _, high]) in points {
        chart.draw_series(LineSeries::new([(*number, *low), (*number, *high)], INK.stroke_width(2)))?;
    }
    chart.draw_series(medians.map(|point| Circle::new(point, 4, BLUE.filled())))?;
    Ok(())
}
