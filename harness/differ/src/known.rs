//! Differences that are known: a file says of which field, which subject and which versions, why, and where that is described.

use std::collections::BTreeSet;
use std::fmt;

use record::SubjectInfo;
use serde::Deserialize;
use subject::Versions;

use crate::observed::kind;

/// What a difference with the specification is compared with.
pub const SPECIFICATION: &str = "specification";

/// Known differences.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    #[serde(default)]
    known: Vec<Entry>,
}

/// One of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The field, with the paths in it or `[*]` for all of them; `*` is any text.
    pub field: String,
    /// The first word that a subject's `--version` says; `*` is any text.
    pub subject: String,
    /// Its versions; all if this is left out.
    #[serde(default)]
    version: Versions,
    /// A field of the configuration, an operation or an entry that the case must have; `*` is any text.
    #[serde(default)]
    when: Option<String>,
    /// Why they differ.
    pub reason: String,
    /// Where that is described.
    pub link: String,
}

/// A file that has no known differences in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl Known {
    /// What this project knows.
    ///
    /// # Errors
    /// Its file is broken, which a test keeps from being.
    pub fn own() -> Result<Self, Invalid> {
        Self::parse(include_str!("../known.toml"))
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// It is not in the form of such a file.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        toml::from_str(text).map_err(|error| Invalid(error.to_string()))
    }

    /// Adds what another file knows.
    pub fn add(&mut self, other: Self) {
        self.known.extend(other.known);
    }

    /// The entry that speaks of a field on these subjects, for a case with these fields.
    pub fn find(&self, field: &str, subjects: &[&SubjectInfo], asked: &BTreeSet<String>) -> Option<&Entry> {
        let is_of = |entry: &Entry, subject: &&SubjectInfo| {
            let name = subject.version.split_whitespace().next().unwrap_or_default();
            matches(&entry.subject, name) && entry.version.contains(&subject.version)
        };
        self.known.iter().find(|entry| {
            (matches(&entry.field, &kind(field)) || matches(&entry.field, field))
                && entry.when.as_ref().is_none_or(|when| asked.iter().any(|field| matches(when, field)))
                && subjects.iter().any(|subject| is_of(entry, subject))
        })
    }
}

/// Whether a text is as a pattern says, in which `*` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = rest.split('*').collect();
    let (last, middle) = parts.split_last().unwrap_or((&"", &[]));
    for part in middle {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars() {
        assert!(matches("a", "a") && matches("a*", "ab") && matches("*b", "ab") && matches("a*c*e", "abcde"));
        assert!(matches("inside.mounts[*].options", "inside.mounts[*].options"));
        assert!(!matches("a", "ab") && !matches("a*c", "ab") && !matches("b*", "ab"));
    }

    #[test]
    fn an_entry_holds_for_its_subject_versions_and_case() {
        let text = "[[known]]\nfield = \"inside.terms.*\"\nsubject = \"runc\"\nversion = \"<1.2\"\nwhen = \"linux/p*\"\nreason = \"r\"\nlink = \"l\"\n";
        let known = Known::parse(text).unwrap();
        let subject =
            |version: &str| SubjectInfo { name: "x".into(), path: String::new(), version: version.into() };
        let asked: BTreeSet<String> = ["linux/personality/domain".to_owned()].into();
        let is_known = |field: &str, version: &str, asked: &BTreeSet<String>| {
            known.find(field, &[&subject("plim-runtime version 0.1.0"), &subject(version)], asked).is_some()
        };
        assert!(is_known("inside.terms.nice", "runc version 1.1.5+ds1", &asked));
        assert!(!is_known("inside.terms.nice", "runc version 1.3.0", &asked));
        assert!(!is_known("inside.terms.nice", "crun version 1.1", &asked));
        assert!(!is_known("inside.rlimits", "runc version 1.1.5", &asked));
        assert!(!is_known("inside.terms.nice", "runc version 1.1.5", &BTreeSet::new()));
        assert!(Known::parse("[[known]]\nfield = \"x\"\n").is_err());
        Known::own().unwrap();
    }
}
