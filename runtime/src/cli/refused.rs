//! Commands that runc has and this runtime has not: asked for, they say so.

use clap::Args;

use super::shared::Outcome;
use crate::error::Error;

/// Whatever was given with the command.
#[derive(Debug, Args)]
pub(super) struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

/// Checkpoints need criu, which this runtime does not drive.
pub(super) fn refuse(command: &str, given: &Anything) -> Outcome {
    let container = given.words.iter().rev().find(|word| !word.starts_with('-')).map_or("", String::as_str);
    Err(Error::new(format!("{command} is not supported: container '{container}' is as it was")).remedy(
        "checkpoints need a runtime that drives criu, such as runc; stop the container and start it again",
    ))
}
