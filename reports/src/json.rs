//! Records as JSON, and the schema that describes them.

use crate::bounded;
use crate::form::{Form, Look, Product, Records, Refused};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use serde::Serialize;
use serde::de::DeserializeOwned;

use record::bench::Bench;
use record::matrix::{Matrix, Row};
use record::{Run, SCHEMA_VERSION};

/// Why a record cannot be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file cannot be written.
    Write(PathBuf, io::Error),
    /// It cannot be expressed in JSON.
    Form(serde_json::Error),
    /// It is not JSON.
    NoJson(serde_json::Error),
    /// It has no version, so it is no record.
    NoVersion,
    /// Its version is newer than [`SCHEMA_VERSION`].
    Newer(u64),
    /// A field is missing or has a wrong value; the error says which one.
    Field(serde_path_to_error::Error<serde_json::Error>),
    /// A field is there twice.
    Twice,
    /// What is wrong in this file.
    In(PathBuf, Box<Error>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "reading {}: {error}", path.display()),
            Self::Write(path, error) => write!(f, "writing {}: {error}", path.display()),
            Self::Form(error) => error.fmt(f),
            Self::NoJson(error) => write!(f, "not a record: {error}"),
            Self::NoVersion => f.write_str("not a record: schema_version is missing"),
            Self::Newer(version) => {
                write!(f, "schema_version {version} is newer than {SCHEMA_VERSION}: update plimsoll")
            }
            Self::Field(error) => error.fmt(f),
            Self::Twice => f.write_str("not a record: a field occurs twice"),
            Self::In(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

/// Writes a record, indented, with a final newline.
///
/// # Errors
/// The file cannot be written, by path.
pub fn write(record: &impl Serialize, path: &Path) -> Result<(), Error> {
    write_whole(path, &text(record)?)
}

/// A record as it is written: indented, with a final newline.
///
/// # Errors
/// It is nothing that JSON can hold.
pub fn text(record: &impl Serialize) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(record).map_err(Error::Form)? + "\n")
}

/// Writes a file as a whole: a reader never sees half of it. What is no regular file is written through.
///
/// # Errors
/// The file cannot be written, by path.
pub fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    output::write_whole(path, text.as_bytes()).map_err(|error| Error::Write(path.to_owned(), error))
}

/// Reads a record.
///
/// # Errors
/// Names the file, and the field or the version that cannot be understood.
pub fn read(path: &Path) -> Result<Run, Error> {
    read_as(path)
}

/// Reads the record of a row of a matrix.
///
/// # Errors
/// Same errors as [`read`].
pub fn read_row(path: &Path) -> Result<Row, Error> {
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
/// Same errors as [`read`].
pub fn read_any(path: &Path) -> Result<Record, Error> {
    let text = text_of(path)?;
    parse_any(&text).map_err(|error| Error::In(path.to_owned(), Box::new(error)))
}

/// Reads the text of a record of any kind, see [`read_any`].
///
/// # Errors
/// Names the field or the version that cannot be understood.
pub fn parse_any(text: &str) -> Result<Record, Error> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(Error::NoJson)?;
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
/// Same errors as [`read`].
pub fn read_bench(path: &Path) -> Result<Bench, Error> {
    read_as(path)
}

fn text_of(path: &Path) -> Result<String, Error> {
    let text =
        |bytes| String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
    bounded::read(path).and_then(text).map_err(|error| Error::Read(path.to_owned(), error))
}

fn read_as<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = text_of(path)?;
    parse(&text).map_err(|error| Error::In(path.to_owned(), Box::new(error)))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(Error::NoJson)?;
    let version = value.get("schema_version").and_then(serde_json::Value::as_u64);
    match version {
        None => return Err(Error::NoVersion),
        Some(newer) if newer > u64::from(SCHEMA_VERSION) => return Err(Error::Newer(newer)),
        Some(_) => {}
    }
    // With the way to the field that is wrong; a second reading, for what is right is read several times as fast without.
    serde_json::from_value(value).map_err(|_| {
        let mut json = serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Err(error) => Error::Field(error),
            Ok(_) => Error::Twice,
        }
    })
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
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
        Ok(Product::Text(text(&runs)?))
    }

    fn benches(&self, benches: &[(String, Bench)]) -> Result<Product, Refused> {
        let all: Vec<&Bench> = benches.iter().map(|(_, bench)| bench).collect();
        Ok(Product::Text(text(&all)?))
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
        assert!(parse::<Run>(r#"{"schema_version": 99}"#).unwrap_err().to_string().contains("99"));
        assert!(parse::<Run>("{}").unwrap_err().to_string().contains("schema_version"));
        assert!(
            parse::<Run>(r#"{"schema_version": 1, "id": 5}"#).unwrap_err().to_string().starts_with("id: ")
        );
        assert!(parse::<Run>("{").unwrap_err().to_string().contains("not a record"));
    }
}
