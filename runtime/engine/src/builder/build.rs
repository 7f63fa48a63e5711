//! From a Dockerfile's text to an image.

use super::config;
use super::context::Context;
use super::dockerfile::File;
use super::request::Build;
use super::stage::Stages;
use crate::containers::Engine;
use crate::image::{Execution, Image};
use crate::progress::Progress;
use runtime::error::{Error, Result};

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

/// Builds an image, and tells of each step.
///
/// # Errors
/// Names the file and the line, and what failed there. No image is left, but for finished steps that the next try can use.
pub fn build(engine: &Engine, context: &Context, build: &Build, told: &dyn Progress) -> Result<Image> {
    let file = File::parse(&build.text, &build.shown)?;
    let _use = engine.store.using()?;
    Stages::new(engine, context, build, &file, told)?.run()
}
