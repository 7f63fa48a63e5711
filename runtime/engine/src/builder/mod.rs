//! Images from Dockerfiles. Source: Dockerfile reference. `grammar` and `dockerfile` parse the text; `stage`
//! does what it means: stages, variables, a layer for each instruction that changes files, and a cache by content.

mod config;
mod context;
mod copy;
mod dockerfile;
mod fetch;
mod grammar;
mod lexer;
mod patterns;
mod shell_pattern;
mod stage;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use config::change;
pub use context::{Context, LARGEST_TEXT};
pub use patterns::{Ignore, Pattern};

use crate::containers::Engine;
use crate::image::{Execution, Image, Reference};
use crate::progress::Progress;
use dockerfile::File;
use runtime::error::{Error, Result};

/// What is to be built.
#[derive(Debug, Default)]
pub struct Build {
    /// The Dockerfile's text.
    pub text: String,
    /// Its name, for errors.
    pub shown: String,
    /// Names of the image.
    pub tags: Vec<Reference>,
    /// Values of ARG.
    pub args: BTreeMap<String, String>,
    /// Secrets of RUN --mount=type=secret, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// The last stage that is wanted, by name or number; absent means the last.
    pub target: Option<String>,
    /// Do every step anew.
    pub no_cache: bool,
    /// Network of RUN.
    pub network: String,
    /// Say nothing but what fails.
    pub quiet: bool,
}

/// Reads a Dockerfile without building anything. `shown` is its name in errors.
///
/// # Errors
/// Names the file and the line where it is no Dockerfile.
pub fn check(text: &str, shown: &str) -> Result<()> {
    let file = File::parse(text, shown)?;
    for step in file.args.iter().chain(file.stages.iter().flat_map(|stage| &stage.steps)) {
        let told = |error| Error::new(format!("{shown}:{}: {error}", step.line));
        // Of a configuration of its own: what stages and variables add is known in a build alone.
        config::apply(&mut Execution::default(), &step.op, file.escape, &|_| None, false).map_err(told)?;
    }
    Ok(())
}

/// Where a secret comes from. Its value never becomes part of an image or of a cache's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// A file.
    File(PathBuf),
    /// A variable of this process.
    Variable(String),
}

/// Builds an image, and tells of each step.
///
/// # Errors
/// Names the file and the line, and what failed there. No image is left, but for finished steps that the next try can use.
pub fn build(engine: &Engine, context: &Context, build: &Build, told: &dyn Progress) -> Result<Image> {
    let file = File::parse(&build.text, &build.shown)?;
    let _use = engine.store.using()?;
    stage::Stages::new(engine, context, build, &file, told)?.run()
}
