//! The part of Go's templates that people use with `inspect --format`: `{{.A.B}}` and `{{json .A}}`.

use serde_json::Value;

use runtime::error::{Error, Result};

/// Fills a template from a value.
///
/// # Errors
/// It asks for a field that is not there, or is more than that part.
pub(super) fn fill(template: &str, from: &Value) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let (inside, after) = after
            .split_once("}}")
            .ok_or_else(|| Error::new(format!("--format {template}: '{{{{' is not closed")))?;
        let inside = inside.trim();
        let (is_json, path) = match inside.strip_prefix("json ") {
            Some(path) => (true, path.trim()),
            None => (false, inside),
        };
        let value = look(path, from).ok_or_else(|| {
            Error::new(format!("--format {template}: there is no '{path}'")).remedy(
                "{{.Field.Field}} and {{json .Field}} are known; without --format all fields are printed",
            )
        })?;
        match value {
            Value::String(string) if !is_json => text.push_str(string),
            other => text.push_str(&other.to_string()),
        }
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn look<'v>(path: &str, from: &'v Value) -> Option<&'v Value> {
    let path = path.strip_prefix('.')?;
    let parts = path.split('.').filter(|part| !part.is_empty());
    parts.into_iter().try_fold(from, |at, part| at.get(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_missing_ones_named() {
        let value = serde_json::json!({ "State": { "Pid": 7, "Status": "up" }, "List": ["a"] });
        assert_eq!(fill("{{.State.Pid}} {{ .State.Status }}!", &value).unwrap(), "7 up!");
        assert_eq!(fill("{{json .List}}", &value).unwrap(), r#"["a"]"#);
        assert!(fill("{{.Nothing}}", &value).unwrap_err().to_string().contains("'.Nothing'"));
        assert!(fill("{{.State", &value).is_err());
    }
}
