//! What an engine is to a check.

use std::ffi::OsString;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::program::Program;

/// A program with images, volumes and networks: what `docker` does, in its words.
pub trait Engine: Debug + Send + Sync {
    /// How it is called in reports.
    fn name(&self) -> &str;

    /// Its program.
    fn program(&self) -> &Program;

    /// Options before every command, by which it keeps everything in a place.
    fn options(&self, place: &Place) -> Vec<OsString>;

    /// Variables of every command.
    fn variables(&self, place: &Place) -> Vec<(&'static str, PathBuf)>;

    /// The command that clears away what a killed one left, once no container is left; nothing if it has none.
    fn repair(&self) -> &[&str] {
        &[]
    }
}

/// Where an engine keeps everything, so that it shares nothing with others on the host.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
    short: PathBuf,
}

impl Place {
    /// A place in a directory. `short` is a path of few letters that nobody else uses, for what cannot have a long one.
    pub fn new(dir: impl Into<PathBuf>, short: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), short: short.into() }
    }

    /// Where its images, volumes and containers are.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where what is kept under `name` is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A path of few letters.
    pub fn short(&self) -> &Path {
        &self.short
    }
}
