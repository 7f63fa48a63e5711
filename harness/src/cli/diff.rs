//! `plimsoll diff`: what changed between two records.

use std::path::{Path, PathBuf};

use clap::Args;
use record::Run;
use record::bench::Bench;
use record::status::{self, Require};
use reports::difference::Pair;
use reports::{bench, difference, gate, json};

use super::failed::{Failed, Invalid};

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Record of the earlier run or benchmark; FILE:ROW is a row of a matrix
    before: PathBuf,
    /// Record of the later one; FILE:ROW is a row of a matrix
    after: PathBuf,
    /// Compare one subject of the first record with another of the second, such as two builds of a runtime: OLD=NEW. Both
    /// records may be the same
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    subject: Option<Pair>,
    /// How many checks of the later record must have passed or failed, as a number or a percentage of all [default: every one
    /// that passed or failed in the earlier record]
    #[arg(long, value_name = "N|PERCENT")]
    require: Option<Require>,
}

fn pair(text: &str) -> Result<Pair, Invalid> {
    let (before, after) = text.split_once('=').ok_or("write it as OLD=NEW")?;
    Ok(Pair { before: before.to_owned(), after: after.to_owned() })
}

impl Diff {
    /// See [`record::status`]; 1 is that something got worse, and 3 that something was not tried again.
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let (before, after) = match (read(&self.before)?, read(&self.after)?) {
            (Given::Run(before), Given::Run(after)) => (before, after),
            (Given::Bench(before), Given::Bench(after)) => return costs(&before, &after),
            (Given::Bench(_), _) => return Err(alone(&self.before).into()),
            (_, Given::Bench(_)) => return Err(alone(&self.after).into()),
        };
        let pair = self.subject.clone().or_else(|| difference::only_pair(&before, &after));
        let (before, after) = match pair {
            Some(pair) => difference::paired(&before, &after, &pair)?,
            None => (*before, *after),
        };
        let changes = difference::difference(&before, &after);
        output::out!("{}", difference::text(&before, &after, &changes));
        let counts = after.shown_counts();
        let is_enough = match self.require {
            Some(require) => require.is_met(counts),
            None => counts.settled() > 0 && !difference::has_lost(&changes),
        };
        Ok(if difference::is_worse(&changes) {
            status::FAILED
        } else if difference::has_trouble(&changes) || !after.left_behind.is_empty() {
            status::TROUBLE
        } else if is_enough {
            status::PASSED
        } else {
            status::NOT_TRIED
        })
    }
}

/// What is compared.
enum Given {
    Run(Box<Run>),
    Bench(Box<Bench>),
}

fn alone(path: &Path) -> String {
    format!("{} is a benchmark: compare it with another benchmark", path.display())
}

/// What got slower beyond noise, between two benchmarks.
fn costs(before: &Bench, after: &Bench) -> Result<u8, Failed> {
    let (agree, of) = bench::agreement(before, after);
    output::outln!("ratios that agree: {agree} of {of}");
    let judgement = gate::judge(std::slice::from_ref(before), after);
    output::out!("{}", gate::text(&judgement));
    if judgement.judged == 0 {
        return Err("the two benchmarks have no side in common that could be judged".into());
    }
    Ok(u8::from(!judgement.slower.is_empty()))
}

fn read(given: &Path) -> Result<Given, Failed> {
    let text = given.to_string_lossy();
    let (path, wanted) = match text.rsplit_once(':') {
        Some((path, row)) if !given.exists() => (PathBuf::from(path), Some(row)),
        _ => (given.to_owned(), None),
    };
    let no_run = |row: &record::matrix::Row| {
        format!("{}: row {} has no run: {}", path.display(), row.name, row.failure)
    };
    let found = |row: &record::matrix::Row| {
        row.run.clone().map(|run| Given::Run(Box::new(run))).ok_or_else(|| Failed::new(no_run(row)))
    };
    match json::read_any(&path)? {
        json::Record::Run(run) => Ok(Given::Run(run)),
        json::Record::Bench(bench) => Ok(Given::Bench(bench)),
        json::Record::Row(row) => found(&row),
        json::Record::Matrix(whole) => {
            let names: Vec<&str> = whole.rows.iter().map(|row| row.name.as_str()).collect();
            let wanted = wanted.ok_or_else(|| {
                format!(
                    "{} is a matrix: say which row, as FILE:ROW; it has {}",
                    path.display(),
                    names.join(", ")
                )
            })?;
            let row = whole.rows.iter().find(|row| row.name == wanted);
            let row = row.ok_or_else(|| {
                format!("{} has no row '{wanted}'; it has {}", path.display(), names.join(", "))
            })?;
            found(row)
        }
    }
}
