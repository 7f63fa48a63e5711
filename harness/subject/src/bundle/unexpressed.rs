//! What an engine cannot be asked for.

use std::fmt;

/// What an engine cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexpressed {
    /// The field of config.json, or the words of the command.
    pub what: String,
}

impl Unexpressed {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for Unexpressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an engine's options cannot express {}", self.what)
    }
}

impl std::error::Error for Unexpressed {}
