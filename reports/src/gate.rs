//! Whether something got slower between sessions of a benchmark.
//!
//! A difference of two sessions counts only beyond a band, made of three parts: the intervals of both sides, the spread
//! between sessions, and the number of ratios judged at once, so that a gate of all of them closes falsely in at most
//! [`FALSE_ALARM`] of all runs. What was changed between the sessions is our own code; what was not - the host, the kernel,
//! other runtimes - shows how far sessions of this machine differ.
//!
//! A side is judged by its ratio to the base of its own session. Where the base is our own core, such a ratio has no
//! meaning as a reference: there each side, the base too, is judged by its own median, against every untouched reference of
//! the same session at once.

use std::fmt::Write;

use record::bench::{BASES, Bench, Measured, Side};

/// Part of all runs without any change in which a whole gate may close.
pub const FALSE_ALARM: f64 = 0.01;

/// Fewer rounds have no interval of 95 % for their median.
const FEWEST_ROUNDS: usize = 6;

/// Spread between two sessions, as a standard deviation of the logarithm, below which none is believed.
const LEAST_SPREAD: f64 = 0.01;

/// The same where too few things were measured to know better.
const USUAL_SPREAD: f64 = 0.02;

/// More is not taken for spread where only things that may have changed tell of it.
const MOST_UNPROVEN: f64 = 0.05;

/// As many values are needed to speak of a spread.
const ENOUGH: usize = 8;

/// Width of an interval of 95 % in standard errors.
const WIDTH: f64 = 2.0 * 1.96;

/// How far sessions differ where nothing changed, as standard deviations of the logarithm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// Of ratios to the base of the same session.
    pub ratios: f64,
    /// Of medians beside a reference.
    pub medians: f64,
}

/// One side that is not as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// What was measured.
    pub row: String,
    /// On which side.
    pub side: String,
    /// The time after, as a multiple of the time before.
    pub times: f64,
    /// The multiple up to which it would be noise.
    pub band: f64,
}

/// What a comparison with earlier sessions says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// What got slower.
    pub slower: Vec<Changed>,
    /// What got faster.
    pub faster: Vec<Changed>,
    /// Sides that were judged.
    pub judged: usize,
    /// How far the sessions differ where nothing changed.
    pub spread: Spread,
    /// Sides that are in one of the sessions and could not be judged, and why.
    pub unjudged: Vec<String>,
}

/// Compares a session with earlier ones. The more of them, the narrower the band.
pub fn judge(baselines: &[Bench], after: &Bench) -> Judgement {
    judge_at(baselines, after, Spread::default(), 0)
}

/// Compares one more session with the same earlier ones, for what `first` found: returns what got slower in both.
pub fn confirm(baselines: &[Bench], first: &Judgement, again: &Bench) -> Vec<Changed> {
    let second = judge_at(baselines, again, first.spread, first.slower.len());
    let found =
        |one: &&Changed| second.slower.iter().any(|two| (&two.row, &two.side) == (&one.row, &one.side));
    first.slower.iter().filter(found).cloned().collect()
}

/// With a spread of at least this, and as one of at least so many comparisons.
fn judge_at(baselines: &[Bench], after: &Bench, least: Spread, comparisons: usize) -> Judgement {
    let mut judgement = Judgement::default();
    let sessions = Sessions::new(baselines, after);
    if baselines.is_empty() {
        return judgement;
    }
    let mut candidates = Vec::new();
    for row in &after.rows {
        for (number, side) in row.sides.iter().enumerate() {
            match candidate(&sessions, row, number) {
                Ok(Some(found)) => candidates.push(found),
                Ok(None) => {}
                Err(why) => judgement.unjudged.push(format!("{} ({}): {why}", row.name, side.name)),
            }
        }
    }
    judgement.unjudged.extend(gone(baselines, after));
    let scale = |against: fn(&Against) -> bool| spread(&candidates, against, sessions.ratio_of_means());
    judgement.spread = Spread {
        ratios: scale(|against| *against == Against::Base).max(least.ratios),
        medians: scale(|against| *against != Against::Base).max(least.medians),
    };
    candidates.retain(|candidate| candidate.judged);
    judgement.judged = candidates.len();
    #[expect(clippy::cast_precision_loss, reason = "numbers of ratios")]
    let tests = judgement.judged.max(comparisons).max(1) as f64;
    let deviations = normal_tail(FALSE_ALARM / 2.0 / tests);
    for candidate in &candidates {
        if let Some(base) = candidate.base_explains(deviations, judgement.spread, sessions.ratio_of_means()) {
            judgement
                .unjudged
                .push(format!("{} ({}): the base itself is x {base:.3}", candidate.row, candidate.side));
            continue;
        }
        let bands = candidate.changes.iter().map(|(against, change)| {
            let spread =
                if *against == Against::Base { judgement.spread.ratios } else { judgement.spread.medians };
            (change.log, deviations * change.noise(spread, sessions.ratio_of_means()))
        });
        let bands: Vec<(f64, f64)> = bands.collect();
        let nearest = bands.iter().copied().min_by(|one, two| one.0.abs().total_cmp(&two.0.abs()));
        let Some((log, band)) = nearest else { continue };
        let changed = Changed {
            row: candidate.row.to_owned(),
            side: candidate.side.to_owned(),
            times: log.exp(),
            band: if log > 0.0 { band.exp() } else { (-band).exp() },
        };
        if bands.iter().all(|(log, band)| log > band) {
            judgement.slower.push(changed);
        } else if bands.iter().all(|(log, band)| *log < -band) {
            judgement.faster.push(changed);
        }
    }
    judgement
}

/// The judgement in words: what changed, beyond which band, and what could not be judged.
pub fn text(judgement: &Judgement) -> String {
    let mut text = format!(
        "{} sides judged; sessions differ by {:.1} % (ratios) and {:.1} % (medians) where nothing changed\n",
        judgement.judged,
        judgement.spread.ratios * 100.0,
        judgement.spread.medians * 100.0
    );
    for (word, all) in [("slower", &judgement.slower), ("faster", &judgement.faster)] {
        for changed in all {
            let _ = writeln!(
                text,
                "{word}: {} ({}): x {:.3}; noise reaches to x {:.3}",
                changed.row, changed.side, changed.times, changed.band
            );
        }
    }
    for one in &judgement.unjudged {
        let _ = writeln!(text, "not judged: {one}");
    }
    if judgement.slower.is_empty() && judgement.judged > 0 {
        text.push_str("nothing got slower\n");
    }
    text
}

/// What a side is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Against {
    /// The base of its own session, within each round.
    Base,
    /// An untouched side of the same row.
    Peer,
    /// The bases of other rows, which are the host's and the kernel's.
    Machine,
    /// The clock.
    Nothing,
}

/// How a logarithm changed, and what is known of its error.
#[derive(Debug, Clone, Copy)]
struct Change {
    log: f64,
    /// Variance of both ends, by their intervals.
    variance: f64,
    /// Variance between the earlier sessions; 0 if there is one.
    between: f64,
    /// Earlier sessions.
    sessions: f64,
}

impl Change {
    /// The standard deviation to be expected without a change.
    fn noise(&self, spread: f64, means: f64) -> f64 {
        /// A spread that is known from all rows weighs as much as so many more sessions of this one.
        const KNOWN: f64 = 4.0;
        let own =
            (KNOWN * spread * spread + (self.sessions - 1.0) * self.between) / (KNOWN + self.sessions - 1.0);
        (own.max(spread * spread) * means + self.variance).sqrt()
    }
}

/// One side with all that it is compared with.
struct Candidate<'a> {
    row: &'a str,
    side: &'a str,
    /// It was not changed by us: what it says is spread between sessions.
    untouched: bool,
    /// It is judged; what only tells of the spread is not.
    judged: bool,
    changes: Vec<(Against, Change)>,
    /// How the base of its ratio changed beside the machine.
    base: Option<Change>,
}

impl Candidate<'_> {
    /// By how much the base of a ratio changed, if that is more than noise and what the ratio shows is its doing.
    fn base_explains(&self, deviations: f64, spread: Spread, means: f64) -> Option<f64> {
        let (base, (_, ratio)) = (self.base?, self.changes.first()?);
        let moved = base.log.abs() > deviations * base.noise(spread.medians, means);
        (moved && base.log.signum() != ratio.log.signum() && base.log.abs() > ratio.log.abs() / 2.0)
            .then(|| base.log.exp())
    }
}

/// The sessions, and how far the machine as a whole was slower after than in each earlier one, as a logarithm.
struct Sessions<'a> {
    baselines: &'a [Bench],
    machine: Vec<Option<f64>>,
}

impl<'a> Sessions<'a> {
    fn new(baselines: &'a [Bench], after: &Bench) -> Self {
        let machine = baselines.iter().map(|before| {
            let bases = after.rows.iter().filter(|row| !is_own_base(row)).filter_map(|row| {
                let twin = twin(before, &row.name)?;
                Some(Point::of(row.sides.first()?)?.log - Point::of(twin.sides.first()?)?.log)
            });
            middle(bases.collect())
        });
        Self { machine: machine.collect(), baselines }
    }

    /// Variance of a session less the mean of the earlier ones, in variances of one session.
    fn ratio_of_means(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "numbers of sessions")]
        let sessions = self.baselines.len().max(1) as f64;
        1.0 + 1.0 / sessions
    }

    /// How a quantity of a row changed; `machine` says whether the machine's own change is taken away.
    fn change(
        &self,
        after: &Measured,
        machine: bool,
        of: impl Fn(&Measured) -> Option<Point>,
    ) -> Option<Change> {
        let now = of(after)?;
        let mut before = Vec::new();
        for (session, shift) in self.baselines.iter().zip(&self.machine) {
            let mut point = of(twin(session, &after.name)?)?;
            if machine {
                point.log += (*shift)?;
            }
            before.push(point);
        }
        #[expect(clippy::cast_precision_loss, reason = "numbers of sessions")]
        let sessions = before.len() as f64;
        let mean = before.iter().map(|point| point.log).sum::<f64>() / sessions;
        let squares = before.iter().map(|point| (point.log - mean).powi(2)).sum::<f64>();
        let errors = before.iter().map(|point| point.variance).sum::<f64>();
        Some(Change {
            log: now.log - mean,
            variance: now.variance + errors / (sessions * sessions),
            between: if sessions > 1.0 { squares / (sessions - 1.0) } else { 0.0 },
            sessions,
        })
    }
}

/// A side as something to be judged; nothing if it stands for the base, why if it cannot be.
fn candidate<'a>(
    sessions: &Sessions<'_>,
    row: &'a Measured,
    number: usize,
) -> Result<Option<Candidate<'a>>, String> {
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
        return Err(format!("not measured: {}", side.missing));
    }
    if side.rounds < FEWEST_ROUNDS {
        return Err(format!("{} rounds are too few", side.rounds));
    }
    if sessions
        .baselines
        .iter()
        .any(|session| twin(session, &row.name).is_none_or(|row| find(row, &side.name).is_none()))
    {
        return Err("not measured in every earlier session".into());
    }
    let changes = if own { own_changes(sessions, row, side) } else { ratio_changes(sessions, row, side) };
    if changes.is_empty() {
        return Err("its figures are no positive numbers".into());
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

/// A median as a logarithm, with the variance that its interval tells.
#[derive(Debug, Clone, Copy)]
struct Point {
    log: f64,
    variance: f64,
}

impl Point {
    fn new(median: f64, low: f64, high: f64) -> Option<Self> {
        let good = |value: f64| value.is_finite() && value > 0.0;
        (good(median) && good(low) && good(high))
            .then(|| Self { log: median.ln(), variance: ((high / low).ln() / WIDTH).powi(2) })
    }

    fn of(side: &Side) -> Option<Self> {
        if side.missing.is_empty() { Self::new(side.median, side.low, side.high) } else { None }
    }

    fn less(self, other: Self) -> Self {
        Self { log: self.log - other.log, variance: self.variance + other.variance }
    }
}

fn twin<'a>(bench: &'a Bench, row: &str) -> Option<&'a Measured> {
    bench.rows.iter().find(|twin| twin.name == row)
}

fn find<'a>(row: &'a Measured, side: &str) -> Option<&'a Side> {
    row.sides.iter().find(|found| found.name == side && found.missing.is_empty())
}

/// The base's second or third turn.
fn is_turn(row: &Measured, number: usize) -> bool {
    let base = row.sides.first().map_or("", |side| side.name.as_str());
    (1..BASES).contains(&number)
        && row.sides[number].name.starts_with(base)
        && !base.is_empty()
        && row.sides[number].ratio.is_some()
}

/// Whether a row's base is our own code: our runtime, its groups, or our containers that are counted up.
fn is_own_base(row: &Measured) -> bool {
    let base = row.sides.first().map_or("", |side| side.name.as_str());
    names_us(base)
        || base == "make, remove"
        || row.sides.iter().all(|side| side.ratio.is_none() && side.note.is_empty())
}

/// Whether a side is our own code. In a row whose base is ours, every name that is no other runtime's is.
fn is_ours(own_base: bool, row: &Measured, side: &str) -> bool {
    let base = row.sides.first().map_or("", |side| side.name.as_str());
    names_us(side) || (own_base && !names_us(base))
}

fn names_us(side: &str) -> bool {
    side == "core" || side.starts_with("core+") || side.starts_with("core ")
}

/// Rows and sides of the earlier sessions that are not there any more.
fn gone(baselines: &[Bench], after: &Bench) -> Vec<String> {
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

/// The standard deviation of one session, by what did not change: all that is untouched, or, if that is too little, most of
/// all there is.
fn spread(all: &[Candidate<'_>], kind: fn(&Against) -> bool, means: f64) -> f64 {
    let changes = |untouched: bool| -> Vec<Change> {
        let wanted = all.iter().filter(|candidate| candidate.untouched || !untouched);
        wanted
            .flat_map(|candidate| candidate.changes.iter().find(|(against, _)| kind(against)))
            .map(|(_, change)| *change)
            .collect()
    };
    let (proven, any) = (changes(true), changes(false));
    let least = if any.len() < ENOUGH { USUAL_SPREAD } else { LEAST_SPREAD };
    if proven.len() >= ENOUGH {
        return scale(&proven, means).max(least);
    }
    scale(&any, means).clamp(least, MOST_UNPROVEN)
}

/// From the third of the changes that are the least: what really changed is among the others.
fn scale(changes: &[Change], means: f64) -> f64 {
    /// As many standard deviations have a third of normally distributed numbers within them.
    const THIRD: f64 = 0.4307;
    if changes.is_empty() {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "numbers of ratios")]
    let number = changes.len() as f64;
    let mut sizes: Vec<f64> = changes.iter().map(|change| change.log.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    // So few numbers say little of their own spread: it may be larger.
    let whole = sizes[sizes.len() / 3] / THIRD * (1.0 + 2.5 / number.sqrt());
    let errors = middle(changes.iter().map(|change| change.variance).collect()).unwrap_or(0.0);
    let now = ((whole * whole - errors).max(0.0) / means).sqrt();
    let between: Vec<f64> =
        changes.iter().filter(|change| change.sessions > 1.0).map(|change| change.between).collect();
    now.max(middle(between).unwrap_or(0.0).sqrt())
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// Standard deviations that a normally distributed number exceeds with this chance, below one half. Source: Abramowitz and
/// Stegun, Handbook of Mathematical Functions, 26.2.23; the error is below 0.00045.
fn normal_tail(chance: f64) -> f64 {
    let t = (-2.0 * chance.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}

#[cfg(test)]
mod tests;
