//! What a shell and man(1) want to know of the command: made from its own definition, so that they are never out of date.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::failed::Failed;

/// Completions of a shell.
#[derive(Debug, Args)]
pub(super) struct Completion {
    shell: Shell,
}

impl Completion {
    /// `command` is the definition of the whole program.
    pub(super) fn run(&self, mut command: Command) -> Result<u8, Failed> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "plimsoll", &mut script);
        output::out!("{}", String::from_utf8_lossy(&script));
        Ok(0)
    }
}

/// Pages of the manual.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Where the pages go, such as /usr/local/share/man/man1; it is made if it is not there
    directory: PathBuf,
}

impl Man {
    /// `command` is the definition of the whole program.
    pub(super) fn run(&self, command: Command) -> Result<u8, Failed> {
        let told = |error: &std::io::Error| format!("man {}: {error}", self.directory.display());
        std::fs::create_dir_all(&self.directory).map_err(|error| told(&error))?;
        clap_mangen::generate_to(command, &self.directory).map_err(|error| told(&error))?;
        Ok(0)
    }
}
