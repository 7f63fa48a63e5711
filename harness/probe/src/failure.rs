//! Why a verb could not be done.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a verb could not be done, in words. It says nothing of a claim: what may be refused is tried by the verbs of
/// [`crate::verbs::attempt`], which answer with the error number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Failure(String);

/// What a verb returns.
pub type Done<T> = Result<T, Failure>;

impl Failure {
    /// A failure in these words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// The same, as a failure to do `what`.
    ///
    /// # Errors
    /// As it was.
    fn doing(self, what: impl fmt::Display) -> Done<T>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Done<T> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
