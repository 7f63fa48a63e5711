//! The spread between sessions, from what they say themselves.

use super::candidate::{Against, Candidate};
use super::sessions::Change;
use super::spread::middle;

/// Spread between two sessions, as a standard deviation of the logarithm, below which none is believed.
const LEAST_SPREAD: f64 = 0.01;

/// The same where too few things were measured to know better.
const USUAL_SPREAD: f64 = 0.02;

/// More is not taken for spread where only things that may have changed tell of it.
const MOST_UNPROVEN: f64 = 0.05;

/// As many values are needed to speak of a spread.
const ENOUGH: usize = 8;

/// The standard deviation of one session, by what did not change: all that is untouched, or, if that is too little, most of
/// all there is.
pub(super) fn spread(all: &[Candidate<'_>], kind: fn(&Against) -> bool, means: f64) -> f64 {
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
pub(super) fn scale(changes: &[Change], means: f64) -> f64 {
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
