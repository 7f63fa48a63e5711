//! Failures that a user expects: a file says of which check, which subject and which versions they are known, and where that is
//! described. They stay failures, are marked with the link wherever they are shown, and are not counted in the exit status. One that
//! passes is marked too: its line is to be taken out.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use record::{Outcome, SubjectInfo, Verdict};
use serde::Deserialize;
use subject::Versions;

/// Why a file of findings cannot be used.
#[derive(Debug)]
pub struct Error {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file of findings.
#[derive(Debug)]
pub enum Problem {
    /// It cannot be read.
    Read(io::Error),
    /// It is not in the form of such a file.
    Form(Box<toml::de::Error>),
    /// No check has this id.
    NoCheck(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.problem {
            Problem::Read(error) => error.fmt(f),
            Problem::Form(error) => error.fmt(f),
            Problem::NoCheck(id) => write!(f, "unknown check '{id}' (`plimsoll list` shows all)"),
        }
    }
}

impl std::error::Error for Error {}

/// The findings of a file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    #[serde(default)]
    known: Vec<Entry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    check: String,
    subject: String,
    #[serde(default)]
    version: Versions,
    link: String,
}

impl Known {
    /// Reads a file of findings.
    ///
    /// # Errors
    /// It cannot be read, is not in the form of such a file, or names a check that does not exist.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Problem::Read);
        let known = text.and_then(|text| Self::parse(&text));
        known.map_err(|problem| Error { file: path.to_owned(), problem })
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        let known: Self = toml::from_str(text).map_err(|error| Problem::Form(Box::new(error)))?;
        match known.known.iter().find(|entry| catalogue::find(&entry.check).is_none()) {
            Some(entry) => Err(Problem::NoCheck(entry.check.clone())),
            None => Ok(known),
        }
    }

    /// Marks an outcome that is known of this subject, or of the kernel with this release. An outcome under a fault says nothing of
    /// the subject.
    pub fn mark(&self, outcome: &mut Outcome, subject: Option<&SubjectInfo>, kernel: &str) {
        let (name, version) =
            subject.map_or(("kernel", kernel), |subject| (subject.name.as_str(), subject.version.as_str()));
        let is_it = |entry: &&Entry| {
            entry.check == outcome.check && entry.subject == name && entry.version.contains(version)
        };
        let Some(entry) = self.known.iter().find(is_it).filter(|_| outcome.fault.is_none()) else { return };
        match outcome.verdict {
            Verdict::Fail => {
                outcome.reason = format!("known ({}): {}", entry.link, outcome.reason);
                outcome.known = Some(entry.link.clone());
            }
            Verdict::Pass => outcome.reason = format!("passes, and is known to fail ({})", entry.link),
            Verdict::Skip | Verdict::Inconclusive | Verdict::Error => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_a_whole_or_refused() {
        let entry =
            "[[known]]\ncheck = \"life.hooks\"\nsubject = \"runc\"\nversion = \"<1.2\"\nlink = \"runc#1\"\n";
        assert_eq!(Known::parse(entry).unwrap().known.len(), 1);
        assert!(Known::parse("").unwrap().known.is_empty());
        for (from, to) in
            [("life.hooks", "life.tea"), ("version", "versions"), ("<1.2", "1.2"), ("link", "text")]
        {
            assert!(Known::parse(&entry.replace(from, to)).is_err(), "{to}");
        }
    }
}
