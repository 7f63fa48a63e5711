//! What was seen of a case on one subject: operations with their ends, and fields with their values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::command::Ended;

/// What was seen of a case on one subject.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Operations in their order: name, how it ended, what it said.
    pub operations: Vec<(String, Ended, String)>,
    /// Fields such as `inside.process.cwd` or `inside.mounts[/tmp].options`, and their values.
    pub fields: BTreeMap<String, Value>,
}

/// A field, or an operation, of which two observations say different things. Nothing stands for a field that is not there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Its name.
    pub field: String,
    /// What the first says.
    pub first: Option<Value>,
    /// What the other says.
    pub other: Option<Value>,
}

impl Observed {
    /// How an operation ended, the first of this name.
    pub fn ended(&self, operation: &str) -> Option<Ended> {
        self.operations.iter().find(|(name, ..)| name == operation).map(|(_, ended, _)| *ended)
    }

    /// What an operation said.
    pub fn said(&self, operation: &str) -> Option<&str> {
        self.operations.iter().find(|(name, ..)| name == operation).map(|(.., said)| said.as_str())
    }

    /// Adds a value below a name: objects become fields of their own.
    pub fn add(&mut self, name: &str, value: Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in part(fields) {
                    let plain = key.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
                    let name = if plain { format!("{name}.{key}") } else { format!("{name}[{key}]") };
                    self.add(&name, value);
                }
            }
            value => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }

    /// All differences. After the first operation that ends otherwise nothing can be the same, so only what is left on the host is
    /// compared then.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let ends = self.operations.iter().zip(&other.operations).find(|(a, b)| (&a.0, a.1) != (&b.0, b.1));
        let mut found = Vec::new();
        if let Some(((name, first, _), (_, second, _))) = ends {
            found.push(Difference {
                field: format!("operation.{name}"),
                first: Some(first.to_string().into()),
                other: Some(second.to_string().into()),
            });
        }
        let both_made = [self, other].iter().all(|seen| seen.ended("create") == Some(Ended::Done));
        let is_compared = |field: &str| {
            // Mount points that a refused container has left in its own root file system are no matter.
            field.starts_with("left.") || (ends.is_none() && (both_made || !field.starts_with("made.rootfs")))
        };
        let names =
            self.fields.keys().chain(other.fields.keys().filter(|name| !self.fields.contains_key(*name)));
        for name in names.filter(|name| is_compared(name)) {
            let (first, second) = (self.fields.get(name), other.fields.get(name));
            if first != second && !self.lacks_all_of(name) && !other.lacks_all_of(name) {
                found.push(Difference { field: name.clone(), first: first.cloned(), other: second.cloned() });
            }
        }
        found
    }

    /// Whether a part of which this field is a part could not be seen as a whole: the error is the difference then.
    fn lacks_all_of(&self, name: &str) -> bool {
        name.char_indices()
            .filter(|(_, letter)| matches!(letter, '.' | '['))
            .any(|(at, _)| self.fields.contains_key(&format!("{}.error", &name[..at])))
            && !name.ends_with(".error")
    }
}

/// `{"ok": ...}` of a probe's answer is what it has.
fn part(mut fields: Map<String, Value>) -> Map<String, Value> {
    if fields.len() == 1
        && let Some(Value::Object(inner)) = fields.get_mut("ok")
    {
        return std::mem::take(inner);
    }
    if fields.len() == 1
        && let Some(value) = fields.remove("ok")
    {
        return Map::from_iter([("value".to_owned(), value)]);
    }
    fields
}

impl Difference {
    /// The field without the paths in it, by which duplicates are known.
    pub fn kind(&self) -> String {
        kind(&self.field)
    }
}

/// A field without the paths and the numbers of operations in it.
pub fn kind(field: &str) -> String {
    let mut kind = String::new();
    let mut rest = field;
    for operation in ["operation.", "exec", "update", "state"] {
        if let Some(numbered) = field.strip_prefix(operation)
            && numbered.starts_with(|letter: char| letter.is_ascii_digit())
        {
            kind.push_str(operation);
            rest = numbered.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ');
        }
    }
    while let Some(at) = rest.find("[/") {
        let Some(end) = rest[at..].find(']') else { break };
        kind.push_str(&rest[..at]);
        kind.push_str("[*]");
        rest = &rest[at + end + 1..];
    }
    kind.push_str(rest);
    kind
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn observed(ended: Ended, value: Value) -> Observed {
        let mut observed =
            Observed { operations: vec![("create".into(), ended, String::new())], ..Observed::default() };
        observed.add("inside", value);
        observed
    }

    #[test]
    fn fields_are_named_by_where_they_stand() {
        let seen = observed(
            Ended::Done,
            json!({"hostname": {"ok": "h"}, "process": {"ok": {"cwd": "/"}}, "mounts": {"/a b": {"type": "tmpfs"}}}),
        );
        let names: Vec<&str> = seen.fields.keys().map(String::as_str).collect();
        assert_eq!(names, ["inside.hostname.value", "inside.mounts[/a b].type", "inside.process.cwd"]);
        assert_eq!(kind("inside.mounts[/a b].type"), "inside.mounts[*].type");
        assert_eq!(kind("inside.sysctls[net.core]"), "inside.sysctls[net.core]");
        assert_eq!(kind("exec2.paths[/].write"), "exec.paths[*].write");
        assert_eq!(kind("operation.12 update"), "operation.update");
    }

    #[test]
    fn an_operation_that_ends_otherwise_hides_what_follows_from_it() {
        let first = observed(Ended::Done, json!({"hostname": "h"}));
        let mut second = observed(Ended::Refused, json!({}));
        second.fields.insert("left.groups".into(), json!(["x"]));
        let fields: Vec<String> = first.differences(&second).into_iter().map(|found| found.field).collect();
        assert_eq!(fields, ["operation.create", "left.groups"]);
        assert!(first.differences(&first.clone()).is_empty());
    }

    #[test]
    fn a_part_that_could_not_be_seen_is_one_difference() {
        let first = observed(Ended::Done, json!({"process": {"ok": {"cwd": "/", "uid": 0}}}));
        let second = observed(Ended::Done, json!({"process": {"error": "no /proc"}}));
        let found = first.differences(&second);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].field, "inside.process.error");
    }
}
