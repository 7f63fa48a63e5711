//! Sessions, and how a quantity changed between them.

use record::bench::{Bench, Measured, Side};

use super::rows::{is_own_base, twin};
use super::spread::middle;

/// Width of an interval of 95 % in standard errors.
const WIDTH: f64 = 2.0 * 1.96;

/// The sessions, and how far the machine as a whole was slower after than in each earlier one, as a logarithm.
pub(super) struct Sessions<'a> {
    pub(super) baselines: &'a [Bench],
    machine: Vec<Option<f64>>,
}

impl<'a> Sessions<'a> {
    pub(super) fn new(baselines: &'a [Bench], after: &Bench) -> Self {
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
    pub(super) fn ratio_of_means(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "numbers of sessions")]
        let sessions = self.baselines.len().max(1) as f64;
        1.0 + 1.0 / sessions
    }

    /// How a quantity of a row changed; `machine` says whether the machine's own change is taken away.
    pub(super) fn change(
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

/// How a logarithm changed, and what is known of its error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) log: f64,
    /// Variance of both ends, by their intervals.
    pub(super) variance: f64,
    /// Variance between the earlier sessions; 0 if there is one.
    pub(super) between: f64,
    /// Earlier sessions.
    pub(super) sessions: f64,
}

impl Change {
    /// The standard deviation to be expected without a change.
    pub(super) fn noise(&self, spread: f64, means: f64) -> f64 {
        /// A spread that is known from all rows weighs as much as so many more sessions of this one.
        const KNOWN: f64 = 4.0;
        let own =
            (KNOWN * spread * spread + (self.sessions - 1.0) * self.between) / (KNOWN + self.sessions - 1.0);
        (own.max(spread * spread) * means + self.variance).sqrt()
    }
}

/// A median as a logarithm, with the variance that its interval tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) log: f64,
    pub(super) variance: f64,
}

impl Point {
    pub(super) fn new(median: f64, low: f64, high: f64) -> Option<Self> {
        let good = |value: f64| value.is_finite() && value > 0.0;
        (good(median) && good(low) && good(high))
            .then(|| Self { log: median.ln(), variance: ((high / low).ln() / WIDTH).powi(2) })
    }

    pub(super) fn of(side: &Side) -> Option<Self> {
        if side.missing.is_empty() { Self::new(side.median, side.low, side.high) } else { None }
    }

    pub(super) fn less(self, other: Self) -> Self {
        Self { log: self.log - other.log, variance: self.variance + other.variance }
    }
}
