//! What a low-level runtime is to a check.

use std::fmt::Debug;
use std::path::Path;
use std::process::Command;

use crate::program::{Program, Through};

/// A program that takes an OCI bundle and runs it. All of them take the commands that runc has made the common ones: `create`,
/// `start`, `run`, `exec`, `state`, `kill`, `delete`, `pause`, `resume`, `update`.
pub trait Runtime: Debug + Send + Sync {
    /// How it is called in reports.
    fn name(&self) -> &str;

    /// Its program.
    fn program(&self) -> &Program;

    /// A command of it, executed by `through`, with the containers that are known in the directory `state`. The command's own words
    /// are still to come.
    fn command(&self, through: Option<&Through>, state: &Path) -> Command {
        let mut command = self.program().command(through);
        command.arg("--root").arg(state);
        command
    }
}
