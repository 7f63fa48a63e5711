//! A field that is not as it should be, on one subject.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::observed::kind;

/// What a subject is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// The subject with this number.
    Side(usize),
    /// The specification, by this sentence.
    Specification(&'static str),
}

/// A field that is not as it should be, on one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The subject's number.
    pub side: usize,
    /// What it is compared with.
    pub against: Against,
    /// The field.
    pub field: String,
    /// What the other says, or the specification asks for.
    pub expected: Option<Value>,
    /// What the subject says.
    pub observed: Option<Value>,
}

impl Candidate {
    /// Whether two are one kind of difference of the same subjects.
    pub fn is_like(&self, other: &Self) -> bool {
        self.side == other.side && self.against == other.against && kind(&self.field) == kind(&other.field)
    }

    /// Whether a difference that was found explains this one: the same subjects and the same kind of field, and all that the smaller
    /// case asks for is asked for here.
    pub fn is_explained_by(
        &self,
        found: &[Self],
        asked_there: &BTreeSet<String>,
        asked: &BTreeSet<String>,
    ) -> bool {
        found.iter().any(|one| self.is_like(one)) && asked_there.is_subset(asked)
    }
}
