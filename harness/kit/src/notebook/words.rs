//! Values of evidence in words that somebody reads who knows no Rust and no error numbers by heart.

use nix::errno::Errno;
use serde_json::Value;

/// What was seen and what was expected. Where two different values would read the same, such as a number and its digits, both are
/// told as JSON.
pub(super) fn both(what: &str, seen: &Value, wanted: &Value) -> (String, String) {
    let errors = what.starts_with("error of") || what.starts_with("errno of");
    let (one, other) = (shown(seen, errors), shown(wanted, errors));
    if one == other && seen != wanted { (seen.to_string(), wanted.to_string()) } else { (one, other) }
}

fn shown(value: &Value, errors: bool) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) if text.trim() != text || text.chars().any(char::is_control) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_i64().filter(|_| errors).map_or_else(|| number.to_string(), error),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(|one| shown(one, errors)).collect();
            format!("[{}]", all.join(", "))
        }
        Value::Object(all) => {
            let all: Vec<String> =
                all.iter().map(|(key, one)| format!("{key}: {}", shown(one, errors))).collect();
            format!("{{{}}}", all.join(", "))
        }
        Value::Bool(_) => value.to_string(),
    }
}

/// An error number by its name. 0 is none.
fn error(number: i64) -> String {
    let known = i32::try_from(number).map_or(Errno::UnknownErrno, Errno::from_raw);
    match (number, known) {
        (0, _) => "no error".to_owned(),
        (_, Errno::UnknownErrno) => number.to_string(),
        (_, known) => format!("{known:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_as_words() {
        let one = |value: &Value| shown(value, false);
        assert_eq!(one(&json!(Some("poststop"))), "poststop");
        assert_eq!(one(&json!(None::<String>)), "none");
        assert_eq!(one(&json!(["a", "b"])), "[a, b]");
        assert_eq!(one(&json!("")), "\"\"");
        assert_eq!(one(&json!("two\nlines")), "\"two\\nlines\"");
        assert_eq!(one(&json!({"uid": 0})), "{uid: 0}");
        assert_eq!(one(&json!(11)), "11");
    }

    #[test]
    fn error_numbers_have_names() {
        let told = both("error of a fork past the limit", &json!(0), &json!(libc::EAGAIN));
        assert_eq!(told, ("no error".to_owned(), "EAGAIN".to_owned()));
        assert_eq!(both("errno of x", &json!(99_999), &json!(1)).0, "99999");
        assert_eq!(both("number of forks", &json!(11), &json!(1)).0, "11");
    }

    #[test]
    fn what_differs_never_reads_the_same() {
        assert_eq!(both("x", &json!("1"), &json!(1)), ("\"1\"".to_owned(), "1".to_owned()));
    }
}
