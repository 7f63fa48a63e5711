//! What a check asked for beyond what every check starts with.

use serde_json::Value;

/// A place of a document that a check set, changed or took away. All pointers are JSON pointers (RFC 6901).
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Where it is; `-` as the last part is an element that the array does not have.
    pub pointer: String,
    /// What the check asked for; nothing if it took it away.
    pub asked: Option<Value>,
    /// What every check starts with there; nothing if that has no such place.
    pub usual: Option<Value>,
}

/// Keys by which an element of an array is the same one although it was changed.
const IDENTITIES: [&str; 3] = ["destination", "type", "path"];

/// Where a check's document differs from the usual one.
pub fn fields(usual: &Value, asked: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    compare(usual, asked, "", &mut found);
    found
}

fn compare(usual: &Value, asked: &Value, pointer: &str, found: &mut Vec<Field>) {
    match (usual, asked) {
        _ if usual == asked => {}
        (Value::Object(had), Value::Object(has)) => {
            for (key, value) in has {
                let place = below(pointer, key);
                match had.get(key) {
                    Some(usual) => compare(usual, value, &place, found),
                    None => found.push(Field { pointer: place, asked: Some(value.clone()), usual: None }),
                }
            }
            for (key, value) in had.iter().filter(|(key, _)| !has.contains_key(*key)) {
                let pointer = below(pointer, key);
                found.push(Field { pointer, asked: None, usual: Some(value.clone()) });
            }
        }
        (Value::Array(had), Value::Array(has)) => compare_arrays(had, has, pointer, found),
        _ => found.push(Field {
            pointer: pointer.to_owned(),
            asked: Some(asked.clone()),
            usual: Some(usual.clone()),
        }),
    }
}

/// Elements are matched with equal ones first, and then with those of the same identity.
fn compare_arrays(had: &[Value], has: &[Value], pointer: &str, found: &mut Vec<Field>) {
    let mut left: Vec<&Value> = had.iter().collect();
    let mut take = |is: &dyn Fn(&Value) -> bool| {
        let at = left.iter().position(|value| is(value))?;
        Some(left.remove(at))
    };
    let fresh: Vec<(usize, &Value)> =
        has.iter().enumerate().filter(|(_, value)| take(&|usual| usual == *value).is_none()).collect();
    for (index, value) in fresh {
        let place = below(pointer, &index.to_string());
        match take(&|usual| is_same(usual, value)) {
            Some(usual) => compare(usual, value, &place, found),
            None => found.push(Field { pointer: place, asked: Some(value.clone()), usual: None }),
        }
    }
    for value in left {
        found.push(Field { pointer: below(pointer, "-"), asked: None, usual: Some(value.clone()) });
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    IDENTITIES.iter().any(|key| one.get(key).is_some() && one.get(key) == other.get(key))
}

/// The pointer of a part. Source: RFC 6901, 3.
pub(super) fn below(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_set_changed_or_taken_away_is_found() {
        let usual =
            json!({"a": 1, "b": {"c": [1, 2]}, "gone": true, "m": [{"destination": "/x", "o": ["ro"]}]});
        let asked =
            json!({"a": 2, "b": {"c": [2, 3]}, "new/key": 5, "m": [{"destination": "/x", "o": ["rw"]}]});
        let all: Vec<_> = fields(&usual, &asked).into_iter().map(|f| (f.pointer, f.asked, f.usual)).collect();
        assert_eq!(
            all,
            [
                ("/a".to_owned(), Some(json!(2)), Some(json!(1))),
                ("/b/c/1".to_owned(), Some(json!(3)), None),
                ("/b/c/-".to_owned(), None, Some(json!(1))),
                ("/new~1key".to_owned(), Some(json!(5)), None),
                ("/m/0/o/0".to_owned(), Some(json!("rw")), None),
                ("/m/0/o/-".to_owned(), None, Some(json!("ro"))),
                ("/gone".to_owned(), None, Some(json!(true))),
            ]
        );
        assert!(fields(&usual, &usual).is_empty());
    }
}
