//! How a container's output is kept, and which part of it is read.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use runtime::error::{Error, Result};

/// How a container's output is kept: `--log-driver` and `--log-opt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// `json-file`, or `none`: nothing is kept.
    pub driver: String,
    /// As they were given.
    pub options: BTreeMap<String, String>,
    /// Bytes after which a new file is begun; absent means never.
    pub(super) max_size: Option<u64>,
    /// How many files are kept.
    pub(super) max_file: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { driver: "json-file".into(), options: BTreeMap::new(), max_size: None, max_file: 1 }
    }
}

impl LogConfig {
    /// Reads a driver and its options. `size` reads a number of bytes.
    ///
    /// # Errors
    /// The driver or an option is unknown, or has an invalid value.
    pub fn parse(driver: &str, options: &[String], size: impl Fn(&str) -> Result<u64>) -> Result<Self> {
        if !matches!(driver, "json-file" | "none") {
            return Err(Error::new(format!("--log-driver {driver}: it is not supported"))
                .remedy("json-file and none are; `plim logs -f` passes a log on to other programs"));
        }
        let mut config = Self { driver: driver.to_owned(), ..Self::default() };
        for option in options {
            let bad = |why: &str| Error::new(format!("--log-opt {option}: {why}"));
            let (name, value) = option.split_once('=').ok_or_else(|| bad("expected NAME=VALUE"))?;
            match name {
                _ if driver == "none" => return Err(bad("the log driver none has no options")),
                "max-size" if value == "-1" => config.max_size = None,
                "max-size" => match size(value)? {
                    0 => return Err(bad("a file cannot have 0 bytes")),
                    bytes => config.max_size = Some(bytes),
                },
                "max-file" => match value.parse() {
                    Ok(number @ 1..=1000) => config.max_file = number,
                    _ => return Err(bad("expected a number of files from 1 to 1000")),
                },
                _ => return Err(bad("the option is unknown").remedy("max-size and max-file are known")),
            }
            config.options.insert(name.to_owned(), value.to_owned());
        }
        if config.max_size.is_none() && config.max_file > 1 {
            return Err(Error::new("--log-opt max-file needs max-size"));
        }
        Ok(config)
    }
}

/// Which part of a log is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Follow {
    /// Wait for more while the container runs.
    pub follow: bool,
    /// Only so many of the last lines.
    pub tail: Option<usize>,
    /// Nothing from before.
    pub since: Option<SystemTime>,
    /// Nothing from after.
    pub until: Option<SystemTime>,
}

impl Follow {
    /// Whether a line of a time is wanted; none is, any more, when it is too late.
    pub(super) fn takes(&self, time: &str) -> bool {
        let at = humantime::parse_rfc3339(time).ok();
        let Some(at) = at else { return true };
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }

    /// How long there will be something to wait for, as seen from now; `None` means for ever.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default())
    }
}
