//! Why something could not be measured.

use std::fmt;

use kit::check::Trouble;

/// Why something could not be measured: what was being done, and the cause. Callers show it or count the side as missing; none
/// tells one error from another, so there are no kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error that is complete in itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.into_text())
    }
}

/// Errors that already say what was being done.
macro_rules! complete {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        }
    )+};
}

complete!(runtime::Error, subject::Error, matrix::Error, reports::json::Error, kit::channel::Error);

/// Says what was being done when a lower-level call failed.
pub(crate) trait Doing<T> {
    /// The same, with `what` before the cause; `what` is only built on failure.
    ///
    /// # Errors
    /// As it was.
    fn doing<S: fmt::Display>(self, what: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing<S: fmt::Display>(self, what: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|cause| Error(format!("{}: {cause}", what())))
    }
}
