//! Why a known bug cannot be looked for.

use std::fmt;

/// Why the table cannot be read or a version cannot be had. `regress` reports it and goes on with the other versions, so there are no
/// kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<matrix::Error> for Error {
    fn from(error: matrix::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<subject::Error> for Error {
    fn from(error: subject::Error) -> Self {
        Self(error.to_string())
    }
}
