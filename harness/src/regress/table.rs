//! The table of known bugs: `harness/regress.toml`.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;

use super::error::Error;

/// The table that comes with this program.
const BUILT_IN: &str = include_str!("../../regress.toml");

/// The whole table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Where the package archives lie.
    pub mirror: String,
    /// The file with the keys that sign the package index.
    pub keyring: String,
    /// Versions that a registry has.
    #[serde(rename = "version")]
    pub versions: Vec<Version>,
    /// Known bugs.
    #[serde(rename = "bug")]
    pub bugs: Vec<Bug>,
}

/// A version of a runtime that a distribution has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Its name, `PROGRAM-VERSION` of upstream.
    pub name: String,
    /// The program's name.
    pub program: String,
    /// The version as the program's own `--version` says it.
    pub reports: String,
    /// `ARCHIVE SUITE` of the program's package.
    pub suite: String,
    /// Where its libraries are, if the suite lacks them.
    #[serde(default)]
    pub library_suite: Option<String>,
    /// The program's file in its package.
    pub file: String,
    /// Packages of libraries that it needs, for a host whose own are older.
    pub libraries: Vec<String>,
}

/// A known bug.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// Its number, or a name.
    pub id: String,
    /// The program that had it.
    pub program: String,
    /// What went wrong.
    pub what: String,
    /// Where it is told.
    pub link: String,
    /// Upstream's versions that have it.
    pub affects: Vec<Range>,
    /// Versions of the table in which a distribution fixed it, and where that is told.
    #[serde(default)]
    pub patched: BTreeMap<String, String>,
    /// Checks of which one must fail.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Versions of the table that have it and in which no check finds it yet, and why.
    #[serde(default)]
    pub unfound: BTreeMap<String, String>,
    /// A part of the expectation by which it must fail.
    #[serde(default)]
    pub by: Option<String>,
    /// Whether it is found by what is left on the host after a check, and not by an expectation.
    #[serde(default)]
    pub left_behind: bool,
    /// Why it cannot be seen here.
    #[serde(default)]
    pub here: Option<String>,
}

/// A range of versions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first that has the bug.
    from: Option<Release>,
    /// The first that has it no longer; without one it is still there.
    before: Option<Release>,
}

/// An upstream version, to be compared: `1.0.0-rc93` comes before `1.0.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Release {
    numbers: [u64; 3],
    /// The number of a release candidate; the largest number for none.
    candidate: u64,
}

impl TryFrom<String> for Release {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for Release {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::new(format!("invalid version '{text}': write it as 1.2.3 or 1.2.3-rc.1"));
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (main, rest) = text.split_at(end);
        let mut numbers = [0; 3];
        let parts: Vec<&str> = main.trim_end_matches('.').split('.').collect();
        if parts.len() > numbers.len() {
            return Err(invalid());
        }
        for (place, part) in numbers.iter_mut().zip(parts) {
            *place = part.parse().map_err(|_| invalid())?;
        }
        let after =
            rest.trim_start_matches(['-', '~']).strip_prefix("rc").map(|rest| rest.trim_start_matches('.'));
        let candidate = match after {
            None => u64::MAX,
            Some(after) => {
                let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().map_err(|_| invalid())?
            }
        };
        Ok(Self { numbers, candidate })
    }
}

impl Range {
    fn has(&self, release: &Release) -> bool {
        let after = self.from.as_ref().is_none_or(|from| from <= release);
        after && self.before.as_ref().is_none_or(|before| release < before)
    }
}

impl Bug {
    /// Whether a version has it. `name` is that of the table's version that it is the same build as, if it is one.
    pub fn affects(&self, program: &str, release: &Release, name: Option<&str>) -> bool {
        self.program == program
            && !name.is_some_and(|name| self.patched.contains_key(name))
            && self.affects.iter().any(|range| range.has(release))
    }
}

impl Table {
    /// The built-in table.
    ///
    /// # Errors
    /// It is not valid, or a name occurs twice.
    pub fn read() -> Result<Self, Error> {
        let invalid = |why: &dyn std::fmt::Display| Error::new(format!("the built-in regress.toml: {why}"));
        let table: Self = toml::from_str(BUILT_IN).map_err(|error| invalid(&error))?;
        let mut ids = std::collections::BTreeSet::new();
        let names =
            table.bugs.iter().map(|bug| &bug.id).chain(table.versions.iter().map(|version| &version.name));
        match names.into_iter().find(|name| !ids.insert(*name)) {
            Some(twice) => Err(invalid(&format!("{twice} is there twice"))),
            None => Ok(table),
        }
    }

    /// The version of the table that is the same build, by what the program says of itself.
    pub fn same_build(&self, program: &str, reports: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.program == program && version.reports == reports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(text: &str) -> Release {
        text.parse().unwrap()
    }

    #[test]
    fn candidates_come_before_their_release_and_numbers_compare_as_numbers() {
        let order = [
            "0.17",
            "1.0.0-rc3",
            "1.0.0~rc93+ds1",
            "1.0.0",
            "1.1.5-orig",
            "1.1.15+ds1",
            "1.2.0-rc.1",
            "1.28",
        ];
        for pair in order.windows(2) {
            assert!(release(pair[0]) < release(pair[1]), "{pair:?}");
        }
        assert!("tea".parse::<Release>().is_err());
        assert!("1.2.3.4".parse::<Release>().is_err());
    }

    #[test]
    fn a_bug_is_where_its_ranges_are_and_no_distribution_fixed_it() {
        let table = Table::read().unwrap();
        let bug = table.bugs.iter().find(|bug| bug.id == "CVE-2024-21626").unwrap();
        let has = |version: &str, name: Option<&str>| bug.affects("runc", &release(version), name);
        assert!(has("1.1.5-orig", None));
        assert!(!has("1.1.5+ds1", Some("runc-1.1.5")), "Debian fixed it");
        assert!(!has("1.1.15", None) && !bug.affects("crun", &release("1.1.5"), None));
    }

    #[test]
    fn the_table_is_whole() {
        let table = Table::read().unwrap();
        for bug in &table.bugs {
            assert!(bug.here.is_some() == bug.checks.is_empty(), "{}: a check, or why there is none", bug.id);
            assert!(
                bug.link.starts_with("https://") || bug.link.starts_with("docs/"),
                "{}: {}",
                bug.id,
                bug.link
            );
            for name in bug.patched.keys().chain(bug.unfound.keys()) {
                assert!(table.versions.iter().any(|version| version.name == *name), "{}: {name}", bug.id);
            }
        }
        for version in &table.versions {
            let (program, number) = version.name.split_once('-').unwrap();
            assert_eq!((program, release(number)), (version.program.as_str(), release(&version.reports)));
        }
    }
}
