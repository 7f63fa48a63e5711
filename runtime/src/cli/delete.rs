//! `plim-runtime delete`

use std::path::Path;

use clap::Args;

use super::log::Log;
use super::shared::Outcome;
use crate::container::Container;

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Kill it first if it runs; no error if it does not exist
    #[arg(long, short)]
    force: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Delete {
    pub(super) fn run(&self, root: &Path, log: &Log) -> Outcome {
        match Container::hold(root, &self.id) {
            Ok(container) => {
                container.delete_with(self.force, &mut |warning| log.warning(warning)).map(|()| 0)
            }
            Err(error) if !self.force => Err(error),
            // What remains of a container that was never finished, if anything.
            Err(error) if root.join(&self.id).is_dir() => {
                Container::delete_remains(root, &self.id).map(|()| 0).map_err(|_| error)
            }
            Err(_) => Ok(0),
        }
    }
}
