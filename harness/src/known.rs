//! Failures that a user expects: a file says of which check, which subject and which versions they are known, and where that is
//! described. They stay failures, are marked with the link wherever they are shown, and are not counted in the exit status. One that
//! passes is marked too: its line is to be taken out.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, io};

use record::{Outcome, SubjectInfo, Verdict};
use serde::Deserialize;

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
    version: Range,
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

/// Versions between bounds, such as `>=1.1, <1.3`; all of them if none is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "String")]
struct Range(Vec<(Bound, Vec<u64>)>);

#[derive(Debug, Clone, Copy)]
enum Bound {
    Least,
    Above,
    Most,
    Below,
    Exactly,
}

impl Range {
    /// Whether the first version in this text lies in it. A text without any does not.
    fn contains(&self, text: &str) -> bool {
        let Some(version) = first_version(text) else { return self.0.is_empty() };
        self.0.iter().all(|(bound, limit)| {
            let order = compare(&version, limit);
            match bound {
                Bound::Least => order != Ordering::Less,
                Bound::Above => order == Ordering::Greater,
                Bound::Most => order != Ordering::Greater,
                Bound::Below => order == Ordering::Less,
                Bound::Exactly => order == Ordering::Equal,
            }
        })
    }
}

impl TryFrom<String> for Range {
    type Error = InvalidRange;

    fn try_from(text: String) -> Result<Self, InvalidRange> {
        text.parse()
    }
}

impl FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        const BOUNDS: [(&str, Bound); 5] = [
            (">=", Bound::Least),
            ("<=", Bound::Most),
            (">", Bound::Above),
            ("<", Bound::Below),
            ("=", Bound::Exactly),
        ];
        let parts = text.split(',').map(|part| {
            let part = part.trim();
            let found =
                BOUNDS.iter().find_map(|(word, bound)| Some((*bound, part.strip_prefix(word)?.trim())));
            let (bound, number) = found.ok_or_else(|| InvalidRange(text.to_owned()))?;
            Ok((bound, numbers(number).ok_or_else(|| InvalidRange(text.to_owned()))?))
        });
        parts.collect::<Result<_, _>>().map(Self)
    }
}

/// A text that is no range.
#[derive(Debug)]
struct InvalidRange(String);

impl fmt::Display for InvalidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid versions '{}': write bounds such as '>=1.1, <1.3' or '=1.1.5'", self.0)
    }
}

/// The numbers of a version that has nothing else.
fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

/// The first version in a text such as `runc version 1.1.5+ds1` or `6.1.0-18-amd64`: numbers with points between them. What follows
/// them is not compared.
fn first_version(text: &str) -> Option<Vec<u64>> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'))
        .and_then(numbers)
}

/// Number by number; what one of them lacks is 0.
fn compare(version: &[u64], limit: &[u64]) -> Ordering {
    let at = |numbers: &[u64], place: usize| numbers.get(place).copied().unwrap_or(0);
    let places = 0..version.len().max(limit.len());
    places
        .map(|place| at(version, place).cmp(&at(limit, place)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(range: &str, version: &str) -> bool {
        range.parse::<Range>().unwrap().contains(version)
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(has(">=1.1, <1.3", "runc version 1.1.5+ds1") && has("=1.10.0", "crun version 1.10"));
        assert!(has(">1.9", "1.10") && has("<6.2", "6.1.0-18-amd64") && has("<=6.1.0", "6.1"));
        assert!(!has(">=1.1, <1.3", "runc version 1.3.0") && !has(">=1.2", "1.1.15"));
        assert!(!has(">=1.1", "version unknown") && Range::default().contains("version unknown"));
        for bad in ["1.1", ">=", ">=a", ">=1.1 <1.3", "", "=1.x"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }

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
