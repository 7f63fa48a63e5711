//! What an engine is to a check.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

use crate::bundle::Dialect;
use crate::program::Program;
use crate::service::Service;

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

    /// What it says of its version, where that is not what its program says.
    fn version(&self) -> Option<String> {
        None
    }

    /// What must run on the same host before its commands, in this order, with all files that these need written.
    ///
    /// # Errors
    /// A file cannot be written.
    fn services(&self, _place: &Place) -> io::Result<Vec<Service>> {
        Ok(Vec::new())
    }

    /// Why it has not this ability, with the remedy; nothing if it has it.
    fn lacks(&self, _ability: Ability) -> Option<String> {
        None
    }

    /// The file to which `login` writes, in a place.
    fn logins(&self, place: &Place) -> PathBuf {
        place.path("auth.json")
    }

    /// In whose words it is asked for the containers of checks of runtimes; nothing if these cannot be tried on it.
    fn words(&self) -> Option<Words> {
        None
    }

    /// Whether it has Docker's commands for images, volumes and networks, which checks of engines give.
    fn has_docker_commands(&self) -> bool {
        true
    }

    /// Whether it keeps images, volumes and networks of others, too, which are theirs alone.
    fn is_shared(&self) -> bool {
        false
    }

    /// The command that clears away what a killed one left, once no container is left; nothing if it has none.
    fn repair(&self) -> &[&str] {
        &[]
    }
}

/// In whose words an engine is asked for the containers of checks of runtimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// By options of `docker run`, in this dialect.
    Options(Dialect),
    /// By the configuration itself, which `ctr` takes.
    Ctr,
}

/// What an engine may lack without being wrong: what is not in every version, or not in its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// `save` writes an OCI layout.
    OciLayout,
    /// Builds with BuildKit's instructions: mounts of RUN, COPY --chmod, only the stages that are needed.
    BuildKit,
}

/// Where an engine keeps everything, so that it shares nothing with others on the host.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
    short: PathBuf,
    group: String,
}

impl Place {
    /// A place in a directory. `short` is a path of few letters that nobody else uses, for what cannot have a long one; `group` is
    /// the name of a control group, at the top of each hierarchy, for the groups of daemons.
    pub fn new(dir: impl Into<PathBuf>, short: impl Into<PathBuf>, group: impl Into<String>) -> Self {
        Self { dir: dir.into(), short: short.into(), group: group.into() }
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

    /// The name of a control group.
    pub fn group(&self) -> &str {
        &self.group
    }
}
