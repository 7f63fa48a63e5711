//! What is to be built.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::image::Reference;

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
    /// Do not use the cache of earlier builds.
    pub no_cache: bool,
    /// Network of RUN.
    pub network: String,
    /// Say nothing but what fails.
    pub quiet: bool,
}

/// Where a secret comes from. Its value never becomes part of an image or of a cache's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// A file.
    File(PathBuf),
    /// A variable of this process.
    Variable(String),
}
