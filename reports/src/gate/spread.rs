//! How far sessions differ where nothing changed.

/// How far sessions differ where nothing changed, as standard deviations of the logarithm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// Of ratios to the base of the same session.
    pub ratios: f64,
    /// Of medians beside a reference.
    pub medians: f64,
}

pub(super) fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// Standard deviations that a normally distributed number exceeds with this chance, below one half. Source: Abramowitz and
/// Stegun, Handbook of Mathematical Functions, 26.2.23; the error is below 0.00045.
pub(super) fn normal_tail(chance: f64) -> f64 {
    let t = (-2.0 * chance.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}
