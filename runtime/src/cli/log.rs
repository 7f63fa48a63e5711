//! How warnings and errors are told: as runc does, so that engines find them where they look.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::ValueEnum;

use crate::error::{Doing, Result};

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For engines.
    Json,
}

#[derive(Debug)]
pub(super) struct Log {
    file: Option<PathBuf>,
    format: Format,
    debug: bool,
}

impl Log {
    /// # Errors
    /// The file cannot be written to, which is better known now than when something is to be told.
    pub(super) fn open(file: Option<PathBuf>, format: Format, debug: bool) -> Result<Self> {
        // A FIFO is opened when there is something to say: until then nobody need read it.
        if let Some(path) = file.as_ref().filter(|path| !is_fifo(path)) {
            append(path).doing(|| format!("--log {}", path.display()))?;
        }
        Ok(Self { file, format, debug })
    }

    pub(super) fn error(&self, text: &str) {
        self.write("error", text);
        // With a log file people would otherwise see nothing at all.
        if self.file.is_some() {
            output::complainln!("plim-runtime: {text}");
        }
    }

    pub(super) fn warning(&self, text: &str) {
        self.write("warning", text);
    }

    pub(super) fn debug(&self, text: impl FnOnce() -> String) {
        if self.debug {
            self.write("debug", &text());
        }
    }

    fn write(&self, level: &str, text: &str) {
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        let line = match (self.format, &self.file) {
            (Format::Json, _) => {
                serde_json::json!({ "level": level, "msg": text, "time": time.to_string() }).to_string()
            }
            (Format::Text, Some(_)) => format!("time=\"{time}\" level={level} msg={text:?}"),
            (Format::Text, None) => format!("plim-runtime: {level}: {text}"),
        };
        match &self.file {
            Some(path) => {
                if let Err(error) =
                    append(path).and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
                {
                    output::complainln!("plim-runtime: --log {}: {error}\n{line}", path.display());
                }
            }
            None => output::complainln!("{line}"),
        }
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn is_fifo(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}
