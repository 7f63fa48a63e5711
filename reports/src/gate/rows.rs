//! Rows and sides of sessions, and whose they are.

use record::bench::{BASES, Bench, Measured, Side};

pub(super) fn twin<'a>(bench: &'a Bench, row: &str) -> Option<&'a Measured> {
    bench.rows.iter().find(|twin| twin.name == row)
}

pub(super) fn find<'a>(row: &'a Measured, side: &str) -> Option<&'a Side> {
    row.sides.iter().find(|found| found.name == side && found.missing.is_empty())
}

/// The base's second or third turn.
pub(super) fn is_turn(row: &Measured, number: usize) -> bool {
    let base = row.sides.first().map_or("", |side| side.name.as_str());
    (1..BASES).contains(&number)
        && row.sides[number].name.starts_with(base)
        && !base.is_empty()
        && row.sides[number].ratio.is_some()
}

/// Whether a row's base is our own code: our runtime, its groups, or our containers that are counted up.
pub(super) fn is_own_base(row: &Measured) -> bool {
    let base = row.sides.first().map_or("", |side| side.name.as_str());
    names_us(base)
        || base == "make, remove"
        || row.sides.iter().all(|side| side.ratio.is_none() && side.note.is_empty())
}

/// Whether a side is our own code. In a row whose base is ours, every name that is no other runtime's is.
pub(super) fn is_ours(own_base: bool, row: &Measured, side: &str) -> bool {
    let base = row.sides.first().map_or("", |side| side.name.as_str());
    names_us(side) || (own_base && !names_us(base))
}

pub(super) fn names_us(side: &str) -> bool {
    side == "core" || side.starts_with("core+") || side.starts_with("core ")
}

/// Rows and sides of the earlier sessions that are not there any more.
pub(super) fn gone(baselines: &[Bench], after: &Bench) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for row in baselines.iter().flat_map(|session| &session.rows) {
        let Some(now) = twin(after, &row.name) else {
            all.push(format!("{}: not measured now", row.name));
            continue;
        };
        let missing = row.sides.iter().filter(|side| !now.sides.iter().any(|found| found.name == side.name));
        all.extend(missing.map(|side| format!("{} ({}): not measured now", row.name, side.name)));
    }
    all.sort();
    all.dedup();
    all
}
