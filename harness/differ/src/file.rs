//! Cases in files: to be played again, with what a right runtime does with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::case::Case;
use crate::observed::Observed;

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
    /// It cannot be read, or is no such file; the text names it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        serde_json::from_str(&text).map_err(|error| told(&error))
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
/// It cannot be read, or has none; the text names it.
pub fn stored(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
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
    if found.is_empty() { Err(format!("{} has no cases (*.json)", path.display())) } else { Ok(found) }
}
