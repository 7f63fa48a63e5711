//! How warnings and errors are told: as runc does, so that engines find them where they look.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::ValueEnum;

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
    pub(super) fn new(file: Option<PathBuf>, format: Format, debug: bool) -> Self {
        Self { file, format, debug }
    }

    pub(super) fn error(&self, text: &str) {
        self.write("error", text);
        // With a log file people would otherwise see nothing at all.
        if self.file.is_some() {
            eprintln!("plim-runtime: {text}");
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
                let opened = OpenOptions::new().create(true).append(true).open(path);
                if let Err(error) = opened.and_then(|mut file| writeln!(file, "{line}")) {
                    eprintln!("plim-runtime: --log {}: {error}\n{line}", path.display());
                }
            }
            None => eprintln!("{line}"),
        }
    }
}
