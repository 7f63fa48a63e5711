//! The options that say which checks are meant: the same for every command that takes some.

use catalogue::{Filter, Selection, Unselected};
use clap::{Args, ValueEnum};
use kit::check::Check;
use record::Scope;

use super::failed::Invalid;

/// Which checks a command takes.
#[derive(Debug, Args)]
pub(super) struct Selecting {
    /// Ids, or whole words of ids such as cpu or ns.pid; globs such as '*quota*'; regular expressions between slashes. All checks
    /// if none is given
    filter: Vec<Filter>,
    /// Leave out what this matches; may be given more than once
    #[arg(long, value_name = "FILTER")]
    exclude: Vec<Filter>,
    /// Only checks of this area, the first word of an id; may be given more than once
    #[arg(long, value_name = "AREA")]
    area: Vec<String>,
    /// Only checks that need this, such as swap or loop; may be given more than once
    #[arg(long, value_name = "WHAT")]
    need: Vec<String>,
    /// One part of several, such as 1/3: all parts together are everything, so that several machines share the work
    #[arg(long, value_name = "PART/PARTS")]
    partition: Option<Partition>,
}

/// One part of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Partition {
    /// From 1 on.
    part: usize,
    parts: usize,
}

impl std::str::FromStr for Partition {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let numbers =
            text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
        match numbers {
            Some((part, parts)) if 1 <= part && part <= parts => Ok(Self { part, parts }),
            _ => Err("expected PART/PARTS such as 1/3, with a part from 1 to the number of parts".into()),
        }
    }
}

impl Partition {
    /// Takes every n-th of them, so that all parts share the slow checks of an area.
    fn of<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.part - 1).step_by(self.parts).collect()
    }
}

impl Selecting {
    /// The checks.
    pub(super) fn checks(&self, kinds: &[Kind]) -> Result<Vec<&'static Check>, Unselected> {
        let selection = Selection {
            filters: self.filter.clone(),
            exclude: self.exclude.clone(),
            areas: self.area.clone(),
            scopes: kinds.iter().map(|kind| kind.scope()).collect(),
            needs: self.need.clone(),
        };
        let checks = selection.checks()?;
        Ok(match self.partition {
            Some(partition) => partition.of(checks),
            None => checks,
        })
    }

    /// The same as words of a command line.
    pub(super) fn words(&self) -> Vec<String> {
        let options = |name: &str, values: Vec<String>| -> Vec<String> {
            values.into_iter().map(|value| format!("--{name}={value}")).collect()
        };
        let mut words = options("exclude", self.exclude.iter().map(ToString::to_string).collect());
        words.extend(options("area", self.area.clone()));
        words.extend(options("need", self.need.clone()));
        words.extend(self.partition.map(|one| format!("--partition={}/{}", one.part, one.parts)));
        words.extend(self.filter.iter().map(ToString::to_string));
        words
    }
}

/// What a check looks at, as a word of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Primitives of the kernel
    Kernel,
    /// A low-level runtime, which takes a bundle
    Runtime,
    /// An engine, which has images and volumes
    Engine,
}

impl Kind {
    fn scope(self) -> Scope {
        match self {
            Self::Kernel => Scope::Kernel,
            Self::Runtime => Scope::Runtime,
            Self::Engine => Scope::Engine,
        }
    }

    /// The word for what a check looks at.
    pub(super) fn of(scope: Scope) -> Self {
        match scope {
            Scope::Kernel => Self::Kernel,
            Scope::Runtime => Self::Runtime,
            Scope::Engine => Self::Engine,
        }
    }

    /// The word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Runtime => "runtime",
            Self::Engine => "engine",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_together_are_everything_once() {
        let mut parts: Vec<u32> =
            (1..=3).flat_map(|part| Partition { part, parts: 3 }.of((0..10).collect())).collect();
        parts.sort_unstable();
        assert_eq!(parts, (0..10).collect::<Vec<_>>());
        for wrong in ["0/3", "4/3", "1", "1/0", "a/b", "-1/3"] {
            assert!(wrong.parse::<Partition>().is_err(), "{wrong}");
        }
    }
}
