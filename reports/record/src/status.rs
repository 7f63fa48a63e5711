//! Exit statuses: the same ones for every command that looks at verdicts.

use std::str::FromStr;

use crate::verdict::Counts;

/// Every claim that was tried passed, and something was tried.
pub const PASSED: u8 = 0;
/// A claim failed, or got worse.
pub const FAILED: u8 = 1;
/// The harness or a row had trouble, or the command was given badly: nothing is said of some claim that was asked for.
pub const TROUBLE: u8 = 2;
/// Nothing was tried, or less than was asked for.
pub const NOT_TRIED: u8 = 3;
/// What `git bisect run` takes for "this one cannot be tested". Source: git-bisect(1).
pub const BISECT_SKIPS: u8 = 125;

/// How many claims must have been settled: to have passed or failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Require {
    /// So many.
    Count(usize),
    /// So many of a hundred of all that were asked for.
    Percent(f64),
}

impl Default for Require {
    fn default() -> Self {
        Self::Count(1)
    }
}

/// A text that is no requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRequirement(String);

impl std::fmt::Display for InvalidRequirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = &self.0;
        write!(f, "invalid requirement '{text}': write a number of checks, or a percentage such as 90%")
    }
}

impl std::error::Error for InvalidRequirement {}

impl FromStr for Require {
    type Err = InvalidRequirement;

    fn from_str(text: &str) -> Result<Self, InvalidRequirement> {
        let invalid = || InvalidRequirement(text.to_owned());
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Count).map_err(|_| invalid()),
            Some(number) => {
                let percent: f64 = number.parse().map_err(|_| invalid())?;
                if (0.0..=100.0).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(invalid()) }
            }
        }
    }
}

impl Require {
    /// Whether these counts are enough.
    #[expect(clippy::cast_precision_loss, reason = "counts of checks are far below 2^53")]
    pub fn is_met(self, counts: Counts) -> bool {
        let settled = counts.settled();
        match self {
            Self::Count(least) => settled >= least,
            Self::Percent(least) => settled > 0 && settled as f64 * 100.0 >= least * counts.total() as f64,
        }
    }
}

impl std::fmt::Display for Require {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(least) => write!(f, "{least}"),
            Self::Percent(least) => write!(f, "{least} %"),
        }
    }
}

/// The exit status that these counts mean. `trouble` is any that no count shows, such as something left on the host.
pub fn of(counts: Counts, trouble: bool, require: Require) -> u8 {
    if counts.fail > 0 {
        FAILED
    } else if counts.error > 0 || trouble {
        TROUBLE
    } else if require.is_met(counts) {
        PASSED
    } else {
        NOT_TRIED
    }
}

/// The same for `git bisect run`: good, bad, or cannot be tested. What ended by a signal stays as it is, and ends the
/// bisection.
pub fn for_bisect(status: u8) -> u8 {
    match status {
        TROUBLE | NOT_TRIED => BISECT_SKIPS,
        status => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pass: usize, fail: usize, skip: usize, inconclusive: usize, error: usize) -> Counts {
        Counts { pass, fail, skip, inconclusive, error }
    }

    #[test]
    fn nothing_tried_is_no_success() {
        let usual = Require::default();
        assert_eq!(of(counts(0, 0, 304, 0, 0), false, usual), NOT_TRIED);
        assert_eq!(of(counts(0, 0, 0, 0, 0), false, usual), NOT_TRIED);
        assert_eq!(of(counts(0, 0, 3, 1, 0), false, usual), NOT_TRIED, "noise settles nothing");
        assert_eq!(of(counts(1, 0, 303, 0, 0), false, usual), PASSED);
        assert_eq!(of(counts(0, 1, 0, 0, 9), true, usual), FAILED);
        assert_eq!(of(counts(9, 0, 0, 0, 1), false, usual), TROUBLE);
        assert_eq!(of(counts(9, 0, 0, 0, 0), true, usual), TROUBLE);
    }

    #[test]
    fn a_requirement_is_a_number_or_a_part() {
        let require = |text: &str| text.parse::<Require>().unwrap();
        assert_eq!(of(counts(9, 0, 1, 0, 0), false, require("10")), NOT_TRIED);
        assert_eq!(of(counts(9, 0, 1, 0, 0), false, require("9")), PASSED);
        assert_eq!(of(counts(9, 0, 1, 0, 0), false, require("90%")), PASSED);
        assert_eq!(of(counts(9, 0, 1, 0, 0), false, require("90.1%")), NOT_TRIED);
        assert_eq!(of(counts(0, 0, 9, 0, 0), false, require("0%")), NOT_TRIED);
        for bad in ["", "-1", "x", "101%", "NaN%", "%"] {
            assert!(bad.parse::<Require>().is_err(), "{bad}");
        }
    }

    #[test]
    fn git_bisect_skips_what_cannot_be_told() {
        assert_eq!([PASSED, FAILED, TROUBLE, NOT_TRIED, 130].map(for_bisect), [0, 1, 125, 125, 130]);
    }
}
