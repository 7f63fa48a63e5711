//! Whether, and when, a container that has ended is started again. Source: Docker reference, docker run --restart.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use runtime::error::{Error, Result};

/// The policy of `--restart`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When its exit status is not 0, at most so many times in a row; 0 means without limit.
    OnFailure(u32),
    /// Always, and with `plim system start` even if it was stopped by hand.
    Always,
    /// Always, until it is stopped by hand.
    UnlessStopped,
}

impl Restart {
    /// The name without the number.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure(_) => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// The number of attempts; 0 where there is no limit.
    pub fn most(self) -> u32 {
        if let Self::OnFailure(most) = self { most } else { 0 }
    }

    /// Whether a run that ended with a status is followed by another. `restarts` were there before.
    pub(super) fn again(self, status: i32, restarts: u32, was_stopped: bool) -> bool {
        !was_stopped
            && match self {
                Self::No => false,
                Self::OnFailure(most) => status != 0 && (most == 0 || restarts < most),
                Self::Always | Self::UnlessStopped => true,
            }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.most() {
            0 => f.write_str(self.name()),
            most => write!(f, "{}:{most}", self.name()),
        }
    }
}

impl FromStr for Restart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::new(format!("invalid restart policy '{text}': {why}"))
                .remedy("expected no, on-failure[:NUMBER], always or unless-stopped")
        };
        let (name, number) = text.split_once(':').map_or((text, None), |(name, number)| (name, Some(number)));
        match (name, number) {
            ("no" | "", None) => Ok(Self::No),
            ("always", None) => Ok(Self::Always),
            ("unless-stopped", None) => Ok(Self::UnlessStopped),
            ("on-failure", None) => Ok(Self::OnFailure(0)),
            ("on-failure", Some(number)) => number
                .parse()
                .map(Self::OnFailure)
                .map_err(|_| bad("the maximum of restarts must be a number that is not negative")),
            ("no" | "always" | "unless-stopped", Some(_)) => {
                Err(bad("only on-failure takes a maximum of restarts"))
            }
            _ => Err(bad("it is unknown")),
        }
    }
}

impl From<Restart> for String {
    fn from(policy: Restart) -> Self {
        policy.to_string()
    }
}

impl TryFrom<String> for Restart {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// How long to wait before the next start: twice as long each time, and little again after a run that went well.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_mins(1);
    /// A run as long as this went well.
    const GOOD: Duration = Duration::from_secs(10);

    /// Before the first run.
    pub(super) fn new() -> Self {
        Self(Duration::ZERO)
    }

    /// The time to wait after a run of a length.
    pub(super) fn after(&mut self, run: Duration) -> Duration {
        let is_first = self.0.is_zero() || run >= Self::GOOD;
        self.0 = if is_first { Self::FIRST } else { (self.0 * 2).min(Self::LONGEST) };
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_written() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        for wrong in ["sometimes", "always:3", "no:1", "on-failure:x", "on-failure:-1", "on-failure:"] {
            assert!(wrong.parse::<Restart>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_policy_decides_by_status_number_and_wish() {
        assert!(!Restart::No.again(1, 0, false));
        assert!(Restart::OnFailure(2).again(1, 1, false) && !Restart::OnFailure(2).again(1, 2, false));
        assert!(!Restart::OnFailure(0).again(0, 0, false) && Restart::OnFailure(0).again(9, 900, false));
        assert!(Restart::Always.again(0, 900, false) && !Restart::Always.again(0, 0, true));
        assert!(!Restart::UnlessStopped.again(1, 0, true));
    }

    #[test]
    fn waits_grow_until_a_run_goes_well() {
        let mut backoff = Backoff::new();
        let short = Duration::from_millis(1);
        let waits: Vec<_> = (0..4).map(|_| backoff.after(short).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800]);
        assert_eq!(backoff.after(Duration::from_secs(11)).as_millis(), 100);
        for _ in 0..20 {
            backoff.after(short);
        }
        assert_eq!(backoff.after(short), Backoff::LONGEST);
    }
}
