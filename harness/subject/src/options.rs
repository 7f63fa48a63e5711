//! What a user says of a subject beside its name.

use std::path::PathBuf;

/// What a user says of a subject beside its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// A daemon that is running, as `docker --host` takes it; without one an engine gets a daemon of its own.
    pub host: Option<String>,
    /// OCI runtimes that an engine is to use, by name. The first is the one for every container.
    pub runtimes: Vec<(String, PathBuf)>,
}
