//! What an engine is asked for, and what is left of a configuration.

use super::unexpressed::Unexpressed;

/// What `run` is to be given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Options before the image.
    pub options: Vec<String>,
    /// Everything behind it.
    pub arguments: Vec<String>,
}

impl Request {
    pub(super) fn option(&mut self, name: &str, value: impl std::fmt::Display) {
        self.options.push(format!("{name}={value}"));
    }
}

/// An error with the first field of what is left, if anything is.
pub(super) fn nothing_left<T: serde::Serialize>(above: &str, rest: &T) -> Result<(), Unexpressed> {
    let value = serde_json::to_value(rest).unwrap_or_default();
    let empty = |value: &serde_json::Value| match value {
        serde_json::Value::Null => true,
        serde_json::Value::Bool(yes) => !yes,
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(all) => all.is_empty(),
        serde_json::Value::Object(all) => all.is_empty(),
        serde_json::Value::Number(_) => false,
    };
    let left = value.as_object().and_then(|fields| fields.iter().find(|(_, value)| !empty(value)));
    match left {
        None => Ok(()),
        Some((name, _)) if above.is_empty() => Err(Unexpressed::new(name)),
        Some((name, _)) => Err(Unexpressed::new(format!("{above}.{name}"))),
    }
}
