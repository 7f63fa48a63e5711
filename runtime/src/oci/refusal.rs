//! How a field is refused.

use crate::error::Error;

/// The error for a field that cannot be meant.
pub(super) fn bad(field: &str, problem: &str) -> Error {
    Error::new(format!("config.json: {field}: {problem}"))
}

/// The error for a required field that is not there.
pub(super) fn missing(field: &str) -> Error {
    Error::new(format!("config.json: {field} is missing")).remedy("the runtime specification requires it")
}
