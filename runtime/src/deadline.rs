//! The end of a patience. It lies on the clock that nobody can set: the time of day may jump, and no wait becomes longer or shorter
//! by that. Source: clock_gettime(2), CLOCK_MONOTONIC.

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

/// When somebody stops waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// It never comes.
    pub const NEVER: Self = Self(None);

    /// So long from now. One that is too far away to be counted never comes.
    pub fn after(patience: Duration) -> Self {
        Self(Instant::now().checked_add(patience))
    }

    /// So long from now; `None` never comes.
    pub fn of(patience: Option<Duration>) -> Self {
        patience.map_or(Self::NEVER, Self::after)
    }

    /// So long after this one.
    #[must_use]
    pub fn later(self, interval: Duration) -> Self {
        Self(self.0.and_then(|at| at.checked_add(interval)))
    }

    /// The time that is left, 0 when it has come; `None` if it never comes.
    pub fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether it has come.
    pub fn has_passed(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// The time that is left, as poll(2) takes it: at least that long, or as long as poll can wait.
    pub fn timeout(self) -> PollTimeout {
        let Some(left) = self.left() else { return PollTimeout::NONE };
        let milliseconds = left.as_nanos().div_ceil(1_000_000);
        PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_up_and_no_patience_is_too_long() {
        assert_eq!(Deadline::NEVER.timeout(), PollTimeout::NONE);
        assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
        assert_eq!(Deadline::of(None), Deadline::NEVER);
        let now = Deadline::after(Duration::ZERO);
        assert!(now.has_passed() && now.timeout() == PollTimeout::ZERO);
        // A millisecond of which a part has passed is still waited for.
        let soon = Deadline::after(Duration::from_millis(5)).timeout().as_millis();
        assert!(soon.is_some_and(|left| (1..=5).contains(&left)), "{soon:?}");
        let years = Deadline::after(Duration::from_secs(1 << 32));
        assert!(!years.has_passed() && years.timeout() == PollTimeout::MAX);
        assert_eq!(years.later(Duration::MAX), Deadline::NEVER);
    }
}
