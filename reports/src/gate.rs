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

mod candidate;
mod rows;
mod scale;
mod sessions;
mod spread;

use std::fmt::Write;

use record::bench::Bench;

use candidate::{Against, candidate};
use rows::gone;
use scale::spread;
use sessions::Sessions;
pub use spread::Spread;
use spread::normal_tail;

/// Part of all runs without any change in which a whole gate may close.
pub const FALSE_ALARM: f64 = 0.01;

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

#[cfg(test)]
mod tests;
