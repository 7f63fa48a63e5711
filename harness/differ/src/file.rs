//! Cases in files: to be played again, with what a right runtime does with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::case::Case;
use crate::observed::Observed;

/// Why cases cannot be read.
#[derive(Debug)]
pub struct Error {
    /// The file or the directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file or a directory of cases.
#[derive(Debug)]
pub enum Problem {
    /// It cannot be read.
    Read(io::Error),
    /// It is not in the form of a case.
    Form(serde_json::Error),
    /// There is none in it.
    None,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.problem {
            Problem::Read(error) => error.fmt(f),
            Problem::Form(error) => error.fmt(f),
            Problem::None => f.write_str("there are no cases (*.json)"),
        }
    }
}

impl std::error::Error for Error {}

/// A case in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// What it is about.
    pub about: String,
    /// The case.
    pub case: Case,
    /// What a right runtime does: fields and operations with their values. Null is a field that must not be there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expect: BTreeMap<String, Value>,
}

impl Stored {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no such file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Problem::Read);
        let stored = text.and_then(|text| serde_json::from_str(&text).map_err(Problem::Form));
        stored.map_err(|problem| Error { path: path.to_owned(), problem })
    }

    /// What an observation lacks of what is expected: the field, what is expected, what was seen.
    pub fn missed(&self, seen: &Observed) -> Vec<(String, Value, Value)> {
        let of = |field: &str| match field.strip_prefix("operation.") {
            Some(name) => seen.ended(name).map_or(Value::Null, |ended| ended.to_string().into()),
            None => seen.fields.get(field).cloned().unwrap_or_default(),
        };
        let all = self.expect.iter().map(|(field, wanted)| (field.clone(), wanted.clone(), of(field)));
        all.filter(|(_, wanted, observed)| wanted != observed).collect()
    }
}

/// The files of cases that a path means: itself, or all below a directory whose names end in `.json`, sorted; those of findings are
/// called `case.json`.
///
/// # Errors
/// It cannot be read, or has none.
pub fn stored(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let told = |error| Error { path: path.to_owned(), problem: Problem::Read(error) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(told)? {
        let inner = entry.map_err(told)?.path();
        let of_a_finding = inner.join("case.json");
        if of_a_finding.is_file() {
            found.push(of_a_finding);
        } else if inner.extension().is_some_and(|extension| extension == "json") {
            found.push(inner);
        }
    }
    found.sort_unstable();
    if found.is_empty() { Err(Error { path: path.to_owned(), problem: Problem::None }) } else { Ok(found) }
}
