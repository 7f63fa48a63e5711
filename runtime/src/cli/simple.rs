//! Commands that take an id and nothing else: start, state, pause, resume.

use std::path::Path;

use clap::Args;

use super::shared::{Outcome, print_json};
use crate::container::Container;

#[derive(Debug, Args)]
pub(super) struct Id {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

pub(super) fn start(root: &Path, id: &Id) -> Outcome {
    Container::hold(root, &id.id)?.start().map(|()| 0)
}

pub(super) fn state(root: &Path, id: &Id) -> Outcome {
    print_json(&Container::find(root, &id.id)?.state())
}

pub(super) fn pause(root: &Path, id: &Id) -> Outcome {
    Container::hold(root, &id.id)?.pause().map(|()| 0)
}

pub(super) fn resume(root: &Path, id: &Id) -> Outcome {
    Container::hold(root, &id.id)?.resume().map(|()| 0)
}
