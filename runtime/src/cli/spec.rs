//! `plim-runtime spec`: a config.json to start from, with runc's defaults.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::shared::Outcome;
use crate::error::{Doing, Error, Remedy};
use crate::oci::{example, rootless_example};

#[derive(Debug, Args)]
pub(super) struct SpecFile {
    /// Directory to write it into
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// For an ordinary user: in a user namespace, without control groups and network of its own
    #[arg(long)]
    rootless: bool,
}

impl SpecFile {
    pub(super) fn run(&self) -> Outcome {
        let path = self.bundle.join("config.json");
        let text = serde_json::to_string_pretty(&if self.rootless { rootless_example() } else { example() })
            .map_err(|error| Error::new(error.to_string()))?;
        std::fs::File::create_new(&path)
            .and_then(|mut file| writeln!(file, "{text}"))
            .doing(|| format!("writing {}", path.display()))
            .or_advise(|| "an existing file is never replaced")?;
        Ok(0)
    }
}
