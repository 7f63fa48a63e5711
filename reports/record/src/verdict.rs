//! Verdicts, and how many there are of each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is said of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It held.
    Pass,
    /// It did not hold.
    Fail,
    /// It could not be tried here, for the reason given.
    Skip,
    /// The machine was measured to be too noisy to say.
    Inconclusive,
    /// The harness had trouble of its own; nothing is said of the claim.
    Error,
}

impl Verdict {
    /// The word for it in tables.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Skip => "skip",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Error => "ERROR",
        }
    }
}

impl Verdict {
    /// How much it asks to be looked at: where several share a place, the largest is shown.
    pub fn severity(self) -> u8 {
        match self {
            Verdict::Fail => 4,
            Verdict::Error => 3,
            Verdict::Inconclusive => 2,
            Verdict::Pass => 1,
            Verdict::Skip => 0,
        }
    }
}

/// How many outcomes have each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Claims that held.
    pub pass: usize,
    /// Claims that did not.
    pub fail: usize,
    /// Claims not tried.
    pub skip: usize,
    /// Claims that the noise hid.
    pub inconclusive: usize,
    /// Troubles of the harness.
    pub error: usize,
}

impl Counts {
    /// Of some verdicts.
    pub fn of(verdicts: impl Iterator<Item = Verdict>) -> Self {
        let mut counts = Self::default();
        for verdict in verdicts {
            *match verdict {
                Verdict::Pass => &mut counts.pass,
                Verdict::Fail => &mut counts.fail,
                Verdict::Skip => &mut counts.skip,
                Verdict::Inconclusive => &mut counts.inconclusive,
                Verdict::Error => &mut counts.error,
            } += 1;
        }
        counts
    }

    /// Those of which something is said: they passed or failed.
    pub fn settled(self) -> usize {
        self.pass + self.fail
    }

    /// All of them.
    pub fn total(self) -> usize {
        self.pass + self.fail + self.skip + self.inconclusive + self.error
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.pass, self.fail, self.skip)?;
        if self.inconclusive > 0 {
            write!(f, ", {} inconclusive", self.inconclusive)?;
        }
        if self.error > 0 {
            write!(f, ", {} errors", self.error)?;
        }
        Ok(())
    }
}
