//! `plimsoll regress`: a catalogue that finds the bugs that runtimes really had.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use matrix::archive::default_cache;
use record::status;
use record::{CaseFate, Mutants, REGRESS_SCHEMA_VERSION, Regress};
use reports::{catch_rate, json};

use super::check::{How, Pace, run_jobs};
use super::failed::{Failed, Invalid};
use super::report::Place;
use crate::jobs::Job;
use crate::regress::{Obtained, Table, fetch, given, plan, record};

#[derive(Debug, Args)]
pub(super) struct Known {
    /// Only this version of the table; may be given more than once [default: all, or those given by --with]
    #[arg(long = "version-of", value_name = "NAME")]
    version: Vec<String>,
    /// A program at hand, as a version of the table or under a name of its own; its --version says what it is
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    with: Vec<(String, PathBuf)>,
    /// Leave this check out, such as one that takes long
    #[arg(long, value_name = "ID")]
    without: Vec<String>,
    /// Show the versions and the bugs, and do nothing else
    #[arg(long)]
    list: bool,
    /// Where fetched packages are kept [default: ~/.cache/plimsoll]
    #[arg(long, value_name = "DIRECTORY")]
    cache: Option<PathBuf>,
    /// Write the record there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the catch rate there, as Markdown
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// A record of `prove --mutants`, whose score is a part of that document
    #[arg(long, value_name = "RECORD", requires = "document")]
    mutants: Option<PathBuf>,
    #[command(flatten)]
    pace: Pace,
}

/// Versions that cannot be had, and why.
type Missing = Vec<(String, String)>;

fn named_path(text: &str) -> Result<(String, PathBuf), Invalid> {
    let (name, path) = text.split_once('=').ok_or_else(|| {
        format!("invalid program '{text}': write NAME=PATH, such as runc-1.1.5=/usr/sbin/runc")
    })?;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._~+".contains(letter);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(format!("invalid name '{name}': letters, digits and -._~+ are allowed").into());
    }
    Ok((name.to_owned(), PathBuf::from(path)))
}

impl Known {
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let table = Table::read()?;
        if self.list {
            list(&table);
            return Ok(status::PASSED);
        }
        let places = [self.json.as_deref(), self.document.as_deref()];
        let [json, document] = places.map(|path| path.map(Place::open).transpose());
        let (json, document) = (json?, document?);
        let mutants = self.mutants.as_deref().map(read_mutants).transpose()?;
        let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let (versions, missing) = self.obtain(&table)?;
        let jobs: Vec<Job> = plan(&table, &versions, &self.without);
        let subjects: Vec<_> = versions.iter().map(|version| version.subject.clone()).collect();
        let how = How {
            events: None,
            seed: None,
            pace: &self.pace,
            fails_fast: false,
            is_quiet: false,
            known: None,
        };
        let run = run_jobs(&jobs, &subjects, how)?;
        let (bugs, unexplained) = record(&table, &versions, &run.outcomes);
        let found = Regress {
            schema_version: REGRESS_SCHEMA_VERSION,
            plimsoll: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            host: run.host,
            versions: run.subjects,
            missing,
            bugs,
            unexplained,
        };
        output::out!("{}", catch_rate::table(&found));
        if let Some(place) = json {
            place.write(&json::text(&found)?)?;
        }
        if let Some(place) = document {
            place.write(&catch_rate::document(&found, mutants.as_ref()))?;
        }
        Ok(exit_status(&found, |bug, version| is_gap(&table, &versions, bug, version)))
    }

    /// The versions that can be had, and why others cannot.
    fn obtain(&self, table: &Table) -> Result<(Vec<Obtained>, Missing), Failed> {
        let cache = self.cache.clone().unwrap_or_else(default_cache).join("runtimes");
        let bin = cache.join("bin");
        let mut versions = Vec::new();
        for (name, path) in &self.with {
            versions.push(given(table, name, path, &bin)?);
        }
        for name in &self.version {
            if !table.versions.iter().any(|version| version.name == *name) {
                let known: Vec<&str> = table.versions.iter().map(|version| version.name.as_str()).collect();
                return Err(Failed::new(format!(
                    "--version-of {name}: there is no such version; there are {}",
                    known.join(" ")
                )));
            }
        }
        let all = self.version.is_empty() && self.with.is_empty();
        let mut missing = Vec::new();
        for version in table.versions.iter().filter(|version| all || self.version.contains(&version.name)) {
            match fetch(table, version, &cache, &bin) {
                Ok(obtained) => versions.push(obtained),
                Err(why) => missing.push((version.name.clone(), why.to_string())),
            }
        }
        Ok((versions, missing))
    }
}

fn list(table: &Table) {
    for version in &table.versions {
        output::outln!("{:18} {} ({})", version.name, version.reports, version.suite);
    }
    for bug in &table.bugs {
        let how = bug.here.as_ref().map_or_else(|| bug.checks.join(", "), |why| format!("not here: {why}"));
        output::outln!("{:24} {} [{how}]", bug.id, bug.what);
    }
}

fn read_mutants(path: &Path) -> Result<Mutants, Failed> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    Ok(serde_json::from_str(&text).map_err(|error| told(&error))?)
}

/// Whether the table says that a bug is not found yet in a version, given by the name it has in this run.
fn is_gap(table: &Table, versions: &[Obtained], bug: &str, version: &str) -> bool {
    let build = versions
        .iter()
        .find(|one| one.name == version)
        .map(|one| one.same_as.as_deref().unwrap_or(&one.name));
    let bug = table.bugs.iter().find(|one| one.id == bug);
    bug.zip(build).is_some_and(|(bug, build)| bug.unfound.contains_key(build))
}

/// A check that speaks of a bug and does not find it fails, but for gaps that the table names with their reason. A bug of which no
/// check speaks yet is a gap too.
fn exit_status(found: &Regress, is_gap: impl Fn(&str, &str) -> bool) -> u8 {
    let cases = || found.bugs.iter().flat_map(|bug| bug.cases.iter().map(move |case| (bug, case)));
    let has = |fate| cases().any(|(bug, case)| case.fate == fate && !is_gap(&bug.id, &case.version));
    if has(CaseFate::NotFound) {
        status::FAILED
    } else if !found.missing.is_empty() || has(CaseFate::NotTried) {
        status::TROUBLE
    } else if has(CaseFate::Found) {
        status::PASSED
    } else {
        status::NOT_TRIED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_a_name_that_is_no_path() {
        assert_eq!(named_path("runc-1.1.5=/usr/sbin/runc").unwrap().0, "runc-1.1.5");
        for text in ["/usr/sbin/runc", "../x=/y", "=/y", "a/b=/y"] {
            assert!(named_path(text).is_err(), "{text}");
        }
    }
}
