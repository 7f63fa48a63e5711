//! What became of small changes of what checks ask for: `plimsoll prove --mutants`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Host, SubjectInfo};

/// Version of this form. A reader refuses a larger one.
pub const MUTANTS_SCHEMA_VERSION: u32 = 1;

/// All mutations that were tried on one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mutants {
    /// Version of this form, see [`MUTANTS_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of Plimsoll.
    pub plimsoll: String,
    /// When it started, by RFC 3339.
    pub started: String,
    /// Where it ran.
    pub host: Host,
    /// What the checks were tried against.
    pub subject: SubjectInfo,
    /// The seed of the choice of mutations.
    pub seed: u64,
    /// How many mutations of one check were tried at most.
    pub most: usize,
    /// Checks that do not pass without a mutation, and so say nothing under one: their ids, and why.
    pub without: Vec<(String, String)>,
    /// Checks that ask for nothing that could be mutated.
    pub plain: Vec<String>,
    /// Each mutation.
    pub mutants: Vec<Mutant>,
}

/// One mutation of what one check asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mutant {
    /// The check's id.
    pub check: String,
    /// What was changed: `config.json`, a command, or a command and the option whose file it is.
    pub document: String,
    /// The field, as a JSON pointer; `-` is an element that was added to an array.
    pub pointer: String,
    /// What the check asked for; nothing if it was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What the subject was asked for; nothing if it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// What became of it.
    pub fate: MutantFate,
    /// The expectation that did not hold, or why nothing is said of the check.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How long the try took, in milliseconds.
    pub duration_ms: u64,
}

/// What became of a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MutantFate {
    /// The check failed, by an expectation that did not hold.
    Found,
    /// The check passed.
    Survived,
    /// The check failed without an expectation that says why.
    BrokeOff,
    /// The subject refused what it was asked for: there was nothing to notice.
    Refused,
    /// The claim does not speak of the field, as the catalogue says.
    Background,
    /// The check did not ask for it a second time.
    NotDone,
    /// The noise hid it, or the harness had trouble.
    NotTried,
}

impl MutantFate {
    /// Every fate, in the order in which reports tell them.
    pub const ALL: [Self; 7] = [
        Self::Found,
        Self::Survived,
        Self::BrokeOff,
        Self::Refused,
        Self::Background,
        Self::NotDone,
        Self::NotTried,
    ];

    /// Whether it says something of the check.
    pub fn matters(self) -> bool {
        matches!(self, Self::Found | Self::Survived | Self::BrokeOff)
    }

    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Survived => "SURVIVED",
            Self::BrokeOff => "BROKE OFF",
            Self::Refused => "refused by the subject",
            Self::Background => "background",
            Self::NotDone => "not asked for again",
            Self::NotTried => "not tried",
        }
    }
}

impl Mutants {
    /// How many had this fate.
    pub fn count(&self, fate: MutantFate) -> usize {
        self.mutants.iter().filter(|mutant| mutant.fate == fate).count()
    }

    /// How many were found, and how many there were to be found.
    pub fn score(&self) -> (usize, usize) {
        let matter = self.mutants.iter().filter(|mutant| mutant.fate.matters()).count();
        (self.count(MutantFate::Found), matter)
    }
}

impl std::fmt::Display for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: ", self.document, self.pointer)?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{before} -> {after}"),
            (Some(before), None) => write!(f, "{before} removed"),
            (None, Some(after)) => write!(f, "{after} added"),
            (None, None) => write!(f, "nothing"),
        }
    }
}
