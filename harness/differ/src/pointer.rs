//! Changing a place of a JSON document. A place is a JSON pointer (RFC 6901) of which a last `-` is a new element, and `[NAME=VALUE]` the
//! element of an array whose field NAME is VALUE. What is missing on the way is made; null takes away.

use serde_json::{Map, Value};

/// Sets a place.
pub(crate) fn set(document: &mut Value, at: &str, value: Value) {
    let parts: Vec<String> =
        at.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    put(document, &split(&parts), value);
}

/// `[destination=/dev/pts]` has slashes of its own, so its pieces are put together again.
fn split(parts: &[String]) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for part in parts {
        match whole.last_mut() {
            Some(last) if last.starts_with('[') && !last.ends_with(']') => {
                last.push('/');
                last.push_str(part);
            }
            _ => whole.push(part.clone()),
        }
    }
    whole
}

fn put(document: &mut Value, parts: &[String], value: Value) {
    let Some((first, rest)) = parts.split_first() else {
        *document = value;
        return;
    };
    let is_array = first == "-" || first.starts_with('[') || first.parse::<usize>().is_ok();
    if document.is_null() {
        *document = if is_array { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
    }
    match document {
        Value::Array(elements) => element(elements, first, rest, value),
        Value::Object(fields) if rest.is_empty() && value.is_null() => {
            fields.shift_remove(first);
        }
        Value::Object(fields) => put(fields.entry(first.clone()).or_insert(Value::Null), rest, value),
        // An earlier change left no room for this one.
        _ => {}
    }
}

fn element(elements: &mut Vec<Value>, part: &str, rest: &[String], value: Value) {
    let found = match part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
        Some(selector) => {
            let (name, wanted) = selector.split_once('=').unwrap_or((selector, ""));
            elements.iter().position(|element| element[name].as_str() == Some(wanted))
        }
        None => part.parse().ok().filter(|index| *index < elements.len()),
    };
    match found {
        Some(index) if rest.is_empty() && value.is_null() => {
            elements.remove(index);
        }
        Some(index) => put(&mut elements[index], rest, value),
        None if value.is_null() => {}
        None => {
            let mut new = Value::Null;
            put(&mut new, rest, value);
            elements.push(new);
        }
    }
}

/// Replaces words in all strings of a document.
pub(crate) fn replace(document: &mut Value, words: &[(&str, &str)]) {
    match document {
        Value::String(text) => {
            for (word, with) in words {
                if text.contains(word) {
                    *text = text.replace(word, with);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| replace(element, words)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, words)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_set_added_and_taken_away() {
        let mut document = json!({"mounts": [{"destination": "/a"}, {"destination": "/a/b"}]});
        set(&mut document, "/mounts/-", json!({"destination": "/c"}));
        set(&mut document, "/mounts/[destination=/a/b]/options", json!(["ro"]));
        set(&mut document, "/mounts/[destination=/a]", Value::Null);
        set(&mut document, "/mounts/[destination=/none]", Value::Null);
        set(&mut document, "/linux/sysctl/net~1core", json!("1"));
        set(&mut document, "/process/args/0", json!("x"));
        assert_eq!(
            document,
            json!({
                "mounts": [{"destination": "/a/b", "options": ["ro"]}, {"destination": "/c"}],
                "linux": {"sysctl": {"net/core": "1"}},
                "process": {"args": ["x"]},
            })
        );
        set(&mut document, "/linux", Value::Null);
        assert!(document.get("linux").is_none());
        replace(&mut document, &[("/c", "/d")]);
        assert_eq!(document["mounts"][1]["destination"], "/d");
    }
}
