//! Records as JSON, and the schema that describes them.

use crate::form::{Form, Look, Product, Records, Refused};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use record::bench::Bench;
use record::matrix::{Matrix, Row};
use record::{Run, SCHEMA_VERSION};

/// Writes a record, indented, with a final newline.
///
/// # Errors
/// The file cannot be written, by path.
pub fn write(record: &impl Serialize, path: &Path) -> Result<(), String> {
    write_whole(path, &text(record)?)
}

/// A record as it is written: indented, with a final newline.
///
/// # Errors
/// It is nothing that JSON can hold.
pub fn text(record: &impl Serialize) -> Result<String, String> {
    Ok(serde_json::to_string_pretty(record).map_err(|error| error.to_string())? + "\n")
}

/// Writes a file as a whole: a reader never sees half of it. What is no regular file is written through.
///
/// # Errors
/// The file cannot be written, by path.
pub fn write_whole(path: &Path, text: &str) -> Result<(), String> {
    output::write_whole(path, text.as_bytes()).map_err(|error| format!("writing {}: {error}", path.display()))
}

/// Reads a record.
///
/// # Errors
/// Names the file, and the field or the version that cannot be understood.
pub fn read(path: &Path) -> Result<Run, String> {
    read_as(path)
}

/// Reads the record of a row of a matrix.
///
/// # Errors
/// As of [`read`].
pub fn read_row(path: &Path) -> Result<Row, String> {
    read_as(path)
}

/// Any record that this crate knows.
#[derive(Debug)]
pub enum Record {
    /// Of one run of checks.
    Run(Box<Run>),
    /// Of one row of a matrix.
    Row(Box<Row>),
    /// Of a whole matrix.
    Matrix(Box<Matrix>),
    /// Of a benchmark.
    Bench(Box<Bench>),
}

/// Reads a record of any kind: told apart by the fields that only one kind has.
///
/// # Errors
/// As of [`read`].
pub fn read_any(path: &Path) -> Result<Record, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    parse_any(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads the text of a record of any kind, see [`read_any`].
///
/// # Errors
/// Names the field or the version that cannot be understood.
pub fn parse_any(text: &str) -> Result<Record, String> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("not a record: {error}"))?;
    if value.get("base").is_some() {
        return parse(text).map(Box::new).map(Record::Bench);
    }
    if value.get("rows").is_some() {
        return parse(text).map(Box::new).map(Record::Matrix);
    }
    if value.get("layout").is_some() {
        return parse(text).map(Box::new).map(Record::Row);
    }
    parse(text).map(Box::new).map(Record::Run)
}

/// Reads the record of a benchmark.
///
/// # Errors
/// As of [`read`].
pub fn read_bench(path: &Path) -> Result<Bench, String> {
    read_as(path)
}

fn read_as<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("not a record: {error}"))?;
    let version = value.get("schema_version").and_then(serde_json::Value::as_u64);
    match version {
        None => return Err("not a record: schema_version is missing".into()),
        Some(newer) if newer > u64::from(SCHEMA_VERSION) => {
            return Err(format!("schema_version {newer} is newer than {SCHEMA_VERSION}: update plimsoll"));
        }
        Some(_) => {}
    }
    // With the way to the field that is wrong; a second reading, for what is right is read several times as fast without.
    serde_json::from_value(value).map_err(|_| {
        let mut json = serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Err(error) => error.to_string(),
            Ok(_) => "not a record: a field stands there twice".to_owned(),
        }
    })
}

/// The records themselves.
#[derive(Debug)]
pub struct Json;

impl Form for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn about(&self) -> &'static str {
        "The records themselves"
    }

    fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
        let runs: Vec<Run> = records.flat().into_iter().map(|(_, run)| run).collect();
        text(&runs).map(Product::Text).map_err(Refused)
    }

    fn benches(&self, benches: &[(String, Bench)]) -> Result<Product, Refused> {
        let all: Vec<&Bench> = benches.iter().map(|(_, bench)| bench).collect();
        text(&all).map(Product::Text).map_err(Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::tests::example;

    #[test]
    fn a_record_survives_writing_and_reading() {
        let run = example();
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(parse::<Run>(&text).unwrap(), run);
    }

    #[test]
    fn newer_and_foreign_files_are_refused_clearly() {
        assert!(parse::<Run>(r#"{"schema_version": 99}"#).unwrap_err().contains("99"));
        assert!(parse::<Run>("{}").unwrap_err().contains("schema_version"));
        assert!(parse::<Run>(r#"{"schema_version": 1, "id": 5}"#).unwrap_err().starts_with("id: "));
        assert!(parse::<Run>("{").unwrap_err().contains("not a record"));
    }
}
