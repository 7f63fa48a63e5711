//! `plim-runtime kill`

use std::path::Path;

use clap::Args;

use super::shared::Outcome;
use crate::container::Container;
use crate::process::signal::Signal;

#[derive(Debug, Args)]
pub(super) struct Kill {
    /// Send it to every process of the container
    #[arg(long, short)]
    all: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Name or number
    #[arg(default_value = "SIGTERM")]
    signal: String,
}

impl Kill {
    pub(super) fn run(&self, root: &Path) -> Outcome {
        let signal: Signal = self.signal.parse()?;
        Container::find(root, &self.id)?.kill(signal, self.all).map(|()| 0)
    }
}
