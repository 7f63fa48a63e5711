//! What things cost, side by side: the table of a benchmark, and what two of them say of each other.

use std::fmt::Write;

use record::bench::{BASES, Bench, EQUIVALENT, Finding, Measured, Ratio, Side, Throttled};

/// How the method did: rows, those whose third base seems to differ, and intervals of ratios of a base to itself that leave 1
/// out, of all of them.
pub fn trial(bench: &Bench) -> (usize, usize, usize, usize) {
    let thirds: Vec<(&Measured, Ratio)> =
        bench.rows.iter().filter_map(|row| Some((row, row.sides.get(BASES - 1)?.ratio?))).collect();
    let differ = thirds.iter().filter(|(row, ratio)| ratio.differs(row.floor)).count();
    let pairs: Vec<Ratio> = bench
        .rows
        .iter()
        .flat_map(|row| row.sides.iter().take(BASES).skip(1))
        .filter_map(|side| side.ratio)
        .collect();
    let off = pairs.iter().filter(|ratio| ratio.leaves_one_out()).count();
    (thirds.len(), differ, off, pairs.len())
}

/// How many ratios of two sessions agree: those whose intervals meet, or whose distance is within the larger floor; of how many.
pub fn agreement(one: &Bench, other: &Bench) -> (usize, usize) {
    let mut found = (0, 0);
    for row in &one.rows {
        let Some(twin) = other.rows.iter().find(|twin| twin.name == row.name) else { continue };
        for side in row.sides.iter().skip(BASES) {
            let same = twin.sides.iter().find(|same| same.name == side.name);
            let (Some(a), Some(b)) = (side.ratio, same.and_then(|same| same.ratio)) else { continue };
            let meet = a.low <= b.high && b.low <= a.high;
            let near = (a.median / b.median - 1.0).abs() <= row.floor.max(twin.floor);
            found = (found.0 + usize::from(meet || near), found.1 + 1);
        }
    }
    found
}

/// The table: medians, and ratios where there is a difference.
pub fn table(bench: &Bench) -> String {
    let mut text = format!(
        "Linux {} {}, cgroup {}, {} CPUs; ratios to {}\n",
        bench.host.kernel, bench.host.architecture, bench.host.cgroup_mode, bench.host.cpus, bench.base
    );
    if !bench.governor.is_empty() {
        let _ = writeln!(text, "CPU frequency: {}", bench.governor);
    }
    let width = bench.rows.iter().map(|row| row.name.len()).max().unwrap_or(4);
    for row in &bench.rows {
        let _ = write!(text, "\n{:width$}  floor {:.1} %", row.name, row.floor * 100.0);
        if row.steal_ms > 0 {
            let _ = write!(text, ", {} ms stolen", row.steal_ms);
        }
        if row.set_apart > 0 {
            let _ = write!(text, ", {} disturbed rounds set apart", row.set_apart);
        }
        text.push('\n');
        for side in &row.sides {
            if !side.missing.is_empty() {
                let _ = writeln!(text, "  {:25} not measured: {}", side.name, side.missing);
                continue;
            }
            let _ = write!(text, "  {:25} {:>12.1} {:3}", side.name, side.median, row.unit);
            text.push_str(&compared(row, side));
            if !side.note.is_empty() {
                let _ = write!(text, "  {}", side.note);
            }
            if side.outliers > 0 {
                let _ = write!(text, "  ({} of {} rounds far off)", side.outliers, side.rounds);
            }
            text.push('\n');
        }
    }
    text.push_str(&throttled(&bench.throttled));
    if !bench.missing.is_empty() {
        text.push('\n');
    }
    for missing in &bench.missing {
        let _ = writeln!(text, "not measured: {missing}");
    }
    let (rows, differ, off, pairs) = trial(bench);
    if rows > 0 {
        let _ = writeln!(
            text,
            "\nthe method, tried on the base itself: a difference seen in {differ} of {rows} rows; {off} of {pairs} intervals of 95 % leave 1 out"
        );
    }
    text
}

/// What a side is beside its base, in words.
fn compared(row: &Measured, side: &Side) -> String {
    let (low, high) = side.ratio.map_or((side.low, side.high), |ratio| (ratio.low, ratio.high));
    let digits = if side.ratio.is_some() { 3 } else { 1 };
    let part = match side.coverage {
        Some(coverage) if coverage < 0.95 => format!(" of {:.0} % only", coverage * 100.0),
        _ => String::new(),
    };
    let interval = format!("[{low:.digits$}, {high:.digits$}]{part}");
    match side.ratio.map(|ratio| (ratio, ratio.finding(row.floor))) {
        None => format!("  {interval}"),
        Some((ratio, Finding::Different)) => format!("  x {:.3} {interval}", ratio.median),
        Some((_, Finding::Same)) => format!("  the same within {:.0} % {interval}", EQUIVALENT * 100.0),
        Some((_, Finding::Undecided)) => format!("  undecided {interval}"),
    }
}

fn throttled(rows: &[Throttled]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        if number == 0 {
            let _ = writeln!(
                text,
                "\nlatency of items of {} us under a quota, in us\n{:>7} {:>9} {:>8} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>9}  throttled",
                row.item_us,
                "quota",
                "period",
                "burst",
                "threads",
                "load",
                "p50",
                "p90",
                "p99",
                "p99.9",
                "longest"
            );
        }
        let _ = writeln!(
            text,
            "{:>5} % {:>6} ms {:>5} ms {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>9}  {} of {} periods",
            row.quota_percent,
            row.period_us / 1000,
            row.burst_us / 1000,
            row.threads,
            row.load_percent.map_or_else(|| "full".to_owned(), |load| format!("{load} %")),
            row.p50_us,
            row.p90_us,
            row.p99_us,
            row.p999_us,
            row.longest_us,
            row.throttled_periods.0,
            row.throttled_periods.1
        );
    }
    text
}

/// What got slower against an earlier session, see [`crate::gate`]: name, side, and the time as a multiple of what it was.
pub fn slower(before: &Bench, after: &Bench) -> Vec<(String, String, f64)> {
    let judgement = crate::gate::judge(std::slice::from_ref(before), after);
    judgement.slower.into_iter().map(|changed| (changed.row, changed.side, changed.times)).collect()
}

#[cfg(test)]
mod tests {
    use record::Host;
    use record::bench::Side;

    use super::*;

    fn side(name: &str, ratio: Option<(f64, f64, f64)>) -> Side {
        Side {
            name: name.into(),
            median: 1.0,
            low: 1.0,
            high: 1.0,
            least: 1.0,
            rounds: 9,
            ratio: ratio.map(|(median, low, high)| Ratio { median, low, high }),
            ..Side::default()
        }
    }

    fn session(third: (f64, f64, f64), other: (f64, f64, f64)) -> Bench {
        let sides = vec![
            side("host", None),
            side("host again", Some((1.0, 0.99, 1.01))),
            side("host once more", Some(third)),
            side("core", Some(other)),
        ];
        Bench {
            schema_version: 1,
            plimsoll: "0".into(),
            started: String::new(),
            duration_ms: 1,
            host: Host::default(),
            base: "host".into(),
            governor: String::new(),
            rows: vec![Measured {
                name: "getpid".into(),
                unit: "ns".into(),
                floor: 0.01,
                sides,
                ..Measured::default()
            }],
            throttled: Vec::new(),
            missing: Vec::new(),
        }
    }

    #[test]
    fn the_method_is_tried_on_a_base_that_sets_no_floor() {
        assert_eq!(trial(&session((1.0, 0.99, 1.01), (1.3, 1.2, 1.4))), (1, 0, 0, 2));
        assert_eq!(trial(&session((1.2, 1.1, 1.3), (1.3, 1.2, 1.4))), (1, 1, 1, 2));
    }

    #[test]
    fn ratios_agree_where_their_intervals_meet_or_the_floor_hides_the_rest() {
        let at = |median, low, high| session((1.0, 0.99, 1.01), (median, low, high));
        let one = at(1.3, 1.2, 1.4);
        assert_eq!(agreement(&one, &at(1.45, 1.35, 1.5)), (1, 1));
        assert_eq!(agreement(&one, &at(1.6, 1.5, 1.7)), (0, 1));
        assert_eq!(agreement(&at(1.300, 1.299, 1.301), &at(1.305, 1.304, 1.306)), (1, 1));
    }

    #[test]
    fn what_is_within_the_floor_or_the_interval_is_no_difference() {
        let ratio = |median, low, high| Ratio { median, low, high };
        assert!(ratio(1.3, 1.2, 1.4).differs(0.02));
        assert!(!ratio(1.01, 1.005, 1.02).differs(0.02));
        assert!(!ratio(1.3, 0.9, 1.6).differs(0.02));
        assert!(ratio(0.8, 0.7, 0.9).differs(0.02));
    }

    #[test]
    fn the_same_is_said_by_a_bound_and_nothing_where_the_interval_is_wide() {
        let told = |median, low, high, coverage| {
            let mut bench = session((1.0, 0.99, 1.01), (median, low, high));
            bench.rows[0].sides[BASES].coverage = coverage;
            let text = table(&bench);
            text.lines().find(|line| line.trim_start().starts_with("core")).unwrap().to_owned()
        };
        assert!(told(1.0, 0.97, 1.04, None).ends_with("the same within 5 % [0.970, 1.040]"));
        assert!(told(1.0, 0.97, 1.06, None).ends_with("undecided [0.970, 1.060]"));
        assert!(told(20.0, 0.5, 67.4, None).ends_with("undecided [0.500, 67.400]"));
        assert!(told(1.3, 1.2, 1.4, Some(0.992)).ends_with("x 1.300 [1.200, 1.400]"));
        assert!(told(1.3, 1.2, 1.4, Some(0.75)).ends_with("x 1.300 [1.200, 1.400] of 75 % only"));
    }
}
