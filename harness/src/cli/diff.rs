//! `plimsoll diff`: what changed between two records.

use std::path::{Path, PathBuf};

use clap::Args;
use reports::{Run, difference, json};

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Record of the earlier run; FILE:ROW is a row of a matrix
    before: PathBuf,
    /// Record of the later run; FILE:ROW is a row of a matrix
    after: PathBuf,
}

impl Diff {
    /// 0 if nothing got worse, 1 if something did.
    pub(super) fn run(&self) -> Result<u8, String> {
        let (before, after) = (read(&self.before)?, read(&self.after)?);
        let changes = difference::difference(&before, &after);
        print!("{}", difference::text(&before, &after, &changes));
        Ok(u8::from(difference::is_worse(&changes)))
    }
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
    }
}
