//! `plimsoll report`: records, shown again.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use reports::{json, matrix, terminal};

#[derive(Debug, Args)]
pub(super) struct Report {
    /// Records of runs, of rows, or of whole matrices
    #[arg(required = true)]
    record: Vec<PathBuf>,
}

impl Report {
    /// Shows what can be read; what cannot is said, and the rest is shown all the same.
    pub(super) fn run(&self) -> Result<u8, String> {
        let mut broken = Vec::new();
        for path in &self.record {
            match json::read_any(path) {
                Ok(json::Record::Run(run)) => {
                    print!("{}", terminal::table(&run, std::io::stdout().is_terminal()));
                }
                Ok(json::Record::Row(row)) => {
                    let version = row.schema_version;
                    let whole =
                        matrix::Matrix { schema_version: version, plimsoll: String::new(), rows: vec![*row] };
                    print!("{}", matrix::table(&whole));
                }
                Ok(json::Record::Matrix(whole)) => print!("{}", matrix::table(&whole)),
                Err(error) => broken.push(error),
            }
        }
        if broken.is_empty() { Ok(0) } else { Err(broken.join("\n")) }
    }
}
