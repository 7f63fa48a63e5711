//! Whether checks find known bugs in the versions that have them: `plimsoll regress`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Host, SubjectInfo};

/// Version of this form. A reader refuses a larger one.
pub const REGRESS_SCHEMA_VERSION: u32 = 1;

/// Known bugs, and versions that have them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Regress {
    /// Version of this form, see [`REGRESS_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of Plimsoll.
    pub plimsoll: String,
    /// When it started, by RFC 3339.
    pub started: String,
    /// Where it ran.
    pub host: Host,
    /// The versions that ran.
    pub versions: Vec<SubjectInfo>,
    /// Versions that could not be had, and why.
    pub missing: Vec<(String, String)>,
    /// Each known bug.
    pub bugs: Vec<KnownBug>,
    /// Failures of these checks on versions that no bug of the table explains.
    pub unexplained: Vec<Unexplained>,
}

/// A known bug.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KnownBug {
    /// Its number, or a name.
    pub id: String,
    /// The program that has it.
    pub program: String,
    /// What goes wrong.
    pub what: String,
    /// Where it is told.
    pub link: String,
    /// Checks of which one must fail.
    pub checks: Vec<String>,
    /// Why it cannot be seen here, if that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<String>,
    /// Each version that ran and has it.
    pub cases: Vec<Case>,
}

/// A bug in a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Case {
    /// The version.
    pub version: String,
    /// Whether it was found.
    pub fate: CaseFate,
    /// The check that failed, or the one that says most.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub check: String,
    /// The expectation that did not hold, or why the bug was not found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Whether a bug was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CaseFate {
    /// A check failed, by an expectation that did not hold.
    Found,
    /// Every check of it passed, or failed by something else.
    NotFound,
    /// No check speaks of it yet.
    NoCheck,
    /// Its checks could not be tried, or broke off.
    NotTried,
    /// It cannot be seen here.
    NotReproducible,
}

/// A failure that no known bug explains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unexplained {
    /// The version.
    pub version: String,
    /// The check.
    pub check: String,
    /// Why it failed.
    pub reason: String,
}

impl CaseFate {
    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NotFound => "NOT FOUND",
            Self::NoCheck => "no check",
            Self::NotTried => "not tried",
            Self::NotReproducible => "not reproducible here",
        }
    }
}

impl KnownBug {
    /// The best that was seen of it: one version in which it was found is enough. `None` if no version that ran has it.
    pub fn fate(&self) -> Option<CaseFate> {
        let order = [
            CaseFate::Found,
            CaseFate::NotFound,
            CaseFate::NotTried,
            CaseFate::NoCheck,
            CaseFate::NotReproducible,
        ];
        order.into_iter().find(|fate| self.cases.iter().any(|case| case.fate == *fate))
    }
}

/// How many were found, of how many that could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Found.
    pub found: usize,
    /// Reproducible here.
    pub of: usize,
}

impl Regress {
    /// By bug.
    pub fn bugs_found(&self) -> Rate {
        rate(self.bugs.iter().filter_map(KnownBug::fate))
    }

    /// By bug and version.
    pub fn cases_found(&self) -> Rate {
        rate(self.bugs.iter().flat_map(|bug| &bug.cases).map(|case| case.fate))
    }
}

fn rate(fates: impl Iterator<Item = CaseFate>) -> Rate {
    let reproducible: Vec<CaseFate> = fates.filter(|fate| *fate != CaseFate::NotReproducible).collect();
    let found = reproducible.iter().filter(|fate| **fate == CaseFate::Found).count();
    Rate { found, of: reproducible.len() }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = (self.found * 100).checked_div(self.of).unwrap_or(0);
        write!(f, "{} of {} ({percent} %)", self.found, self.of)
    }
}
