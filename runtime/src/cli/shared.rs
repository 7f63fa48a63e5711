//! What several commands share.

use std::io::Write;
use std::path::{Path, PathBuf};

use output::Output;

use crate::error::{Doing, Error};

/// What a command returns: the exit status, where it is not that of an error.
pub(super) type Outcome = Result<u8, Error>;

/// Where a PID goes that the caller asked for. It is opened before anything is started, and appears as a whole, because callers
/// watch for the file.
pub(super) struct PidFile<'a>(Option<(&'a Path, Output)>);

impl<'a> PidFile<'a> {
    pub(super) fn open(path: Option<&'a PathBuf>) -> Result<Self, Error> {
        let open = |path: &'a PathBuf| {
            let output = Output::open(path).doing(|| format!("--pid-file: writing {}", path.display()))?;
            Ok::<_, Error>((path.as_path(), output))
        };
        path.map(open).transpose().map(Self)
    }

    pub(super) fn write(self, pid: i32) -> Result<(), Error> {
        let Some((path, mut output)) = self.0 else { return Ok(()) };
        let written = output.write_all(pid.to_string().as_bytes()).and_then(|()| output.finish());
        written.doing(|| format!("--pid-file: writing {}", path.display()))
    }
}

/// Prints a value as indented JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::new(error.to_string()))?;
    output::outln!("{text}");
    Ok(0)
}
