//! `plimsoll diff`: what changed between two records.

use std::path::{Path, PathBuf};

use clap::Args;
use reports::bench::{self, Bench};
use reports::{Run, difference, json};

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Record of the earlier run or benchmark; FILE:ROW is a row of a matrix
    before: PathBuf,
    /// Record of the later one; FILE:ROW is a row of a matrix
    after: PathBuf,
}

impl Diff {
    /// 0 if nothing got worse, 1 if something did.
    pub(super) fn run(&self) -> Result<u8, String> {
        if let (Ok(json::Record::Bench(before)), Ok(json::Record::Bench(after))) =
            (json::read_any(&self.before), json::read_any(&self.after))
        {
            return Ok(costs(&before, &after));
        }
        let (before, after) = (read(&self.before)?, read(&self.after)?);
        let changes = difference::difference(&before, &after);
        print!("{}", difference::text(&before, &after, &changes));
        Ok(u8::from(difference::is_worse(&changes)))
    }
}

/// What got slower beyond noise, between two benchmarks.
fn costs(before: &Bench, after: &Bench) -> u8 {
    let (agree, of) = bench::agreement(before, after);
    println!("{agree} of {of} ratios agree");
    let slower = bench::slower(before, after);
    slower.iter().for_each(|(name, side, times)| println!("slower: {name} ({side}): x {times:.3}"));
    u8::from(!slower.is_empty())
}

fn read(given: &Path) -> Result<Run, String> {
    let text = given.to_string_lossy();
    let (path, wanted) = match text.rsplit_once(':') {
        Some((path, row)) if !given.exists() => (PathBuf::from(path), Some(row)),
        _ => (given.to_owned(), None),
    };
    let no_run = |row: &reports::matrix::Row| {
        format!("{}: row {} has no run: {}", path.display(), row.name, row.failure)
    };
    match json::read_any(&path)? {
        json::Record::Run(run) => Ok(*run),
        json::Record::Row(row) => row.run.clone().ok_or_else(|| no_run(&row)),
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
            row.run.clone().ok_or_else(|| no_run(row))
        }
        json::Record::Bench(_) => {
            Err(format!("{} is a benchmark: compare it with another benchmark", path.display()))
        }
    }
}
