//! `plim-runtime list`

use std::path::Path;

use clap::{Args, ValueEnum};

use super::shared::{Outcome, print_json};
use crate::container::Container;
use crate::error::{Doing, Error};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// How they are printed
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Ids alone
    #[arg(long, short)]
    quiet: bool,
}

impl List {
    /// Lists the containers below a directory. The usual one is made with the first container; one that was `given` is there, or
    /// misspelt.
    pub(super) fn run(&self, root: &Path, given: bool) -> Outcome {
        if given {
            let doing = || format!("--root {}", root.display());
            let of = std::fs::metadata(root).doing(doing)?;
            if !of.is_dir() {
                return Err(Error::new(format!("--root {}: not a directory", root.display())));
            }
        }
        let ids = Container::ids(root)?;
        if self.quiet {
            ids.iter().for_each(|id| output::outln!("{id}"));
            return Ok(0);
        }
        // One that is being made or removed just now has no state to show.
        let states: Vec<_> =
            ids.iter().filter_map(|id| Container::find(root, id).ok()).map(|found| found.state()).collect();
        if self.format == Format::Json {
            return print_json(&states);
        }
        let width = states.iter().map(|state| state.id.len()).max().unwrap_or(0).max(12);
        output::outln!(
            "{:width$}  {:<10}  {:<8}  {:<30}  {:<10}  BUNDLE",
            "ID",
            "PID",
            "STATUS",
            "CREATED",
            "OWNER"
        );
        for state in states {
            output::outln!(
                "{:width$}  {:<10}  {:<8}  {:<30}  {:<10}  {}",
                state.id,
                state.pid,
                state.status,
                state.created,
                state.owner,
                state.bundle.display()
            );
        }
        Ok(0)
    }
}
