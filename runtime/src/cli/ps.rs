//! `plim-runtime ps`

use std::path::Path;
use std::process::Command;

use clap::{Args, ValueEnum};

use super::shared::{Outcome, print_json};
use crate::container::Container;
use crate::error::{Doing, Error, Remedy};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Ps {
    /// A table of ps(1), or the PIDs as JSON
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Options of ps(1); the default is -ef
    #[arg(value_name = "PS-OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl Ps {
    pub(super) fn run(&self, root: &Path) -> Outcome {
        let pids = Container::find(root, &self.id)?.processes();
        if self.format == Format::Json {
            return print_json(&pids);
        }
        let default = ["-ef".to_owned()];
        let options = if self.options.is_empty() { &default[..] } else { &self.options };
        let output = Command::new("ps")
            .args(options)
            .output()
            .doing(|| "running ps(1)")
            .or_advise(|| "install procps, or use --format json")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::new(format!("ps {}: {}", options.join(" "), said.trim())));
        }
        let table = String::from_utf8_lossy(&output.stdout);
        let mut lines = table.lines();
        let heading = lines.next().unwrap_or_default();
        let column = heading
            .split_whitespace()
            .position(|name| name == "PID")
            .ok_or_else(|| Error::new("the output of ps has no column PID").remedy("choose other options"))?;
        output::outln!("{heading}");
        for line in lines {
            let pid = line.split_whitespace().nth(column).and_then(|field| field.parse().ok());
            if pid.is_some_and(|pid| pids.contains(&pid)) {
                output::outln!("{line}");
            }
        }
        Ok(0)
    }
}
