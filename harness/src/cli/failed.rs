//! How a command ends that could not do its work.

use std::fmt;

/// What failed, for people. Every failure has the same exit status, so nobody asks for its kind.
///
/// It is no [`std::error::Error`] itself, so that `?` makes one of whatever can be shown.
#[derive(Debug)]
pub(super) struct Failed(String);

impl Failed {
    /// Without a cause.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, with the remedy where one is known.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl<E: fmt::Display> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Why the value of an option is refused.
#[derive(Debug)]
pub(super) struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl From<&str> for Invalid {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Invalid {
    fn from(text: String) -> Self {
        Self(text)
    }
}
