//! Differences between subjects that were given the same containers: `plimsoll differ`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Host, SubjectInfo};

/// Version of this form. A reader refuses a larger one.
pub const DIFFER_SCHEMA_VERSION: u32 = 1;

/// A differential search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Differ {
    /// Version of this form, see [`DIFFER_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of Plimsoll.
    pub plimsoll: String,
    /// When it started, by RFC 3339.
    pub started: String,
    /// Where it ran.
    pub host: Host,
    /// What was compared: the others with the first, and each with the specification.
    pub subjects: Vec<SubjectInfo>,
    /// The seed of the cases.
    pub seed: u64,
    /// Areas of the configuration that were searched; all if there is none.
    pub only: Vec<String>,
    /// How many cases were played.
    pub cases: u64,
    /// How long that took, in milliseconds.
    pub duration_ms: u64,
    /// Differences that nobody knew.
    pub found: Vec<FoundDifference>,
    /// Differences that are known: the reason, the link, and in how many cases they were seen.
    pub known: Vec<KnownDifference>,
    /// Fields that were another the second time, and so say nothing.
    pub unsteady: Vec<String>,
    /// Why the search ended early, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A difference, with the smallest case that shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FoundDifference {
    /// The field that differs.
    pub field: String,
    /// The subject's name.
    pub subject: String,
    /// What it was compared with: another subject's name, or `specification`.
    pub against: String,
    /// What the other says; nothing if it has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// What the subject says; nothing if it has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Value>,
    /// The sentence that decides who is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Fields of the configuration that the smallest case has.
    pub asked: Vec<String>,
    /// Other fields that differ in the smallest case.
    pub also: Vec<String>,
    /// The number of the case in which it was seen first.
    pub number: u64,
    /// The smallest case.
    pub case: Value,
    /// In how many cases it was seen.
    pub times: u64,
}

/// A difference that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KnownDifference {
    /// The subject's name.
    pub subject: String,
    /// The pattern of fields.
    pub field: String,
    /// Why they differ.
    pub reason: String,
    /// Where that is described.
    pub link: String,
    /// In how many cases it was seen.
    pub times: u64,
}
