//! What is judged: one side, and what it is compared with.

use record::bench::{Measured, Side};

use super::rows::{find, is_ours, is_own_base, is_turn, twin};
use super::sessions::{Change, Point, Sessions};
use super::spread::Spread;

/// Fewer rounds have no interval of 95 % for their median.
const FEWEST_ROUNDS: usize = 6;

/// Why a side cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unjudged {
    /// It was not measured, for this reason.
    NotMeasured(String),
    /// Its rounds are fewer than [`FEWEST_ROUNDS`].
    FewRounds(usize),
    /// An earlier session does not have it.
    New,
    /// Its figures are no positive numbers.
    NoFigures,
}

impl std::fmt::Display for Unjudged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotMeasured(why) => write!(f, "not measured: {why}"),
            Self::FewRounds(rounds) => write!(f, "{rounds} rounds are too few"),
            Self::New => f.write_str("not measured in every earlier session"),
            Self::NoFigures => f.write_str("its figures are not positive numbers"),
        }
    }
}

/// What a side is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Against {
    /// The base of its own session, within each round.
    Base,
    /// An untouched side of the same row.
    Peer,
    /// The bases of other rows, which are the host's and the kernel's.
    Machine,
    /// The clock.
    Nothing,
}

/// One side with all that it is compared with.
pub(super) struct Candidate<'a> {
    pub(super) row: &'a str,
    pub(super) side: &'a str,
    /// It was not changed by us: what it says is spread between sessions.
    pub(super) untouched: bool,
    /// It is judged; what only tells of the spread is not.
    pub(super) judged: bool,
    pub(super) changes: Vec<(Against, Change)>,
    /// How the base of its ratio changed beside the machine.
    pub(super) base: Option<Change>,
}

impl Candidate<'_> {
    /// By how much the base of a ratio changed, if that is more than noise and what the ratio shows is its doing.
    pub(super) fn base_explains(&self, deviations: f64, spread: Spread, means: f64) -> Option<f64> {
        let (base, (_, ratio)) = (self.base?, self.changes.first()?);
        let moved = base.log.abs() > deviations * base.noise(spread.medians, means);
        (moved && base.log.signum() != ratio.log.signum() && base.log.abs() > ratio.log.abs() / 2.0)
            .then(|| base.log.exp())
    }
}

/// A side as something to be judged; nothing if it stands for the base, why if it cannot be.
pub(super) fn candidate<'a>(
    sessions: &Sessions<'_>,
    row: &'a Measured,
    number: usize,
) -> Result<Option<Candidate<'a>>, Unjudged> {
    let side = &row.sides[number];
    let own = is_own_base(row);
    let is_base = number == 0 && row.sides.iter().any(|side| side.ratio.is_some());
    // The base's other turns try the method, within the session.
    let is_turn = is_turn(row, number);
    if is_turn || !side.note.is_empty() {
        return Ok(None);
    }
    let base = || sessions.change(row, true, |row| Point::of(row.sides.first()?));
    if is_base && !own {
        let changes = base().map(|change| (Against::Machine, change)).into_iter().collect();
        return Ok(Some(Candidate {
            row: &row.name,
            side: &side.name,
            untouched: true,
            judged: false,
            changes,
            base: None,
        }));
    }
    if !side.missing.is_empty() {
        return Err(Unjudged::NotMeasured(side.missing.clone()));
    }
    if side.rounds < FEWEST_ROUNDS {
        return Err(Unjudged::FewRounds(side.rounds));
    }
    if sessions
        .baselines
        .iter()
        .any(|session| twin(session, &row.name).is_none_or(|row| find(row, &side.name).is_none()))
    {
        return Err(Unjudged::New);
    }
    let changes = if own { own_changes(sessions, row, side) } else { ratio_changes(sessions, row, side) };
    if changes.is_empty() {
        return Err(Unjudged::NoFigures);
    }
    let untouched = !is_ours(own, row, &side.name);
    let base = if own { None } else { base() };
    Ok(Some(Candidate { row: &row.name, side: &side.name, untouched, judged: true, changes, base }))
}

/// By the ratio to a base that is not ours.
fn ratio_changes(sessions: &Sessions<'_>, row: &Measured, side: &Side) -> Vec<(Against, Change)> {
    let ratio = |row: &Measured| {
        let ratio = find(row, &side.name)?.ratio?;
        Point::new(ratio.median, ratio.low, ratio.high)
    };
    sessions.change(row, false, ratio).map(|change| (Against::Base, change)).into_iter().collect()
}

/// By its own median, against every untouched reference.
fn own_changes(sessions: &Sessions<'_>, row: &Measured, side: &Side) -> Vec<(Against, Change)> {
    let median = |row: &Measured| Point::of(find(row, &side.name)?);
    let mut all = Vec::new();
    let peers = row.sides.iter().enumerate().filter(|(number, peer)| {
        !is_turn(row, *number)
            && peer.note.is_empty()
            && peer.name != side.name
            && !is_ours(true, row, &peer.name)
    });
    for (_, peer) in peers {
        let beside = |row: &Measured| Some(median(row)?.less(Point::of(find(row, &peer.name)?)?));
        all.extend(sessions.change(row, false, beside).map(|change| (Against::Peer, change)));
    }
    // Memory does not depend on how fast the machine is.
    if row.unit != "KiB" {
        all.extend(sessions.change(row, true, median).map(|change| (Against::Machine, change)));
    }
    // One reference may have changed itself.
    if all.len() < 2 {
        all.extend(sessions.change(row, false, median).map(|change| (Against::Nothing, change)));
    }
    all
}
