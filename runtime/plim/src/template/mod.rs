//! Go templates, as `--format` takes them. Source: Go's text/template, and Docker's "Format command and log output".
//!
//! Fields, variables, pipelines, `if`, `with`, `range` with their `else`, and the functions in [`eval`]. `define`, `block` and
//! `template` are refused by name.

mod eval;
mod parse;

use serde::Serialize;
use serde_json::Value;

use runtime::error::{Error, Result};

/// A template, read once and filled many times.
#[derive(Debug)]
pub(super) struct Template {
    nodes: Vec<parse::Node>,
    written: String,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Names what is wrong in it.
    pub(super) fn new(text: &str) -> Result<Self> {
        let nodes = parse::parse(text).map_err(|what| {
            Error::new(format!("--format {text}: {what}"))
                .remedy("fields look like {{.Field.Field}}; {{json .}} prints all that there is")
        })?;
        Ok(Self { nodes, written: text.to_owned() })
    }

    /// Fills it from a value.
    ///
    /// # Errors
    /// It asks for a field that is not there, or calls a function with what it does not take.
    pub(super) fn fill(&self, from: &Value) -> Result<String> {
        eval::fill(&self.nodes, from).map_err(|what| {
            Error::new(format!("--format {}: {what}", self.written))
                .remedy("{{json .}} prints all that there is")
        })
    }
}

/// A document as templates read it: fields are looked up by the names that they have in JSON.
///
/// # Errors
/// It cannot be written as JSON, such as a path that is not UTF-8.
pub(super) fn document(of: &impl Serialize) -> Result<Value> {
    serde_json::to_value(of).map_err(|error| Error::new(format!("writing JSON: {error}")))
}

/// Fills a template from a value.
///
/// # Errors
/// As [`Template::new`] and [`Template::fill`].
pub(super) fn fill(template: &str, from: &Value) -> Result<String> {
    Template::new(template)?.fill(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value() -> Value {
        json!({
            "State": { "Pid": 7, "Status": "up", "Health": null },
            "List": ["a", "b"],
            "Ports": { "80/tcp": [{ "HostPort": "8080" }] },
            "Empty": [],
            "Name": "/one",
        })
    }

    #[test]
    fn templates_are_filled_as_go_fills_them() {
        for (template, expected) in [
            ("{{.State.Pid}} {{ .State.Status }}!", "7 up!"),
            ("{{json .List}}", r#"["a","b"]"#),
            ("{{.List}} {{.Empty}}", "[a b] []"),
            ("{{range .List}}<{{.}}>{{end}}", "<a><b>"),
            ("{{range $i, $v := .List}}{{$i}}={{$v}} {{end}}", "0=a 1=b "),
            ("{{range $p, $c := .Ports}}{{$p}} -> {{(index $c 0).HostPort}}{{end}}", "80/tcp -> 8080"),
            (r#"{{(index (index .Ports "80/tcp") 0).HostPort}}"#, "8080"),
            (r#"{{index .Ports "80/tcp" 0 "HostPort"}}"#, "8080"),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            ("{{if .State.Health}}h{{else if eq .State.Status \"up\"}}fine{{else}}?{{end}}", "fine"),
            ("{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "7 /one"),
            (r#"{{join .List ", "}} {{upper .State.Status}} {{title "abc"}}"#, "a, b UP Abc"),
            (r#"{{.Name | printf "%s!" | len}}"#, "5"),
            (r#"{{printf "%-5s|%q|%v" "a" "b" .List}}"#, "a    |\"b\"|[a b]"),
            ("a {{- 1 -}} b {{/* no */}}", "a1b "),
            ("{{$x := .State.Pid}}{{$x}}{{println}}", "7\n"),
            ("{{and true .Empty}} {{or .Empty 5}} {{not 0}} {{lt 1 2}}", "[] 5 true true"),
            (r#"{{index (split "a:b" ":") 1}} {{len .List}}"#, "b 2"),
            ("{{`raw \"text\"`}}", "raw \"text\""),
            ("{{.State.Health}}", "<no value>"),
            (r#"{{slice .Name 1}} {{truncate "abcdef" 3}} {{pad "x" 1 2}}|"#, "one abc  x  |"),
        ] {
            assert_eq!(fill(template, &value()).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (template, part) in [
            ("{{.State", "not closed"),
            ("{{.Nothing}}", "'.Nothing'"),
            ("{{if .List}}x", "no end"),
            ("{{end}}", "'end'"),
            ("{{nonsense .List}}", "'nonsense'"),
            ("{{define \"x\"}}{{end}}", "'define'"),
            ("{{$no}}", "'$no'"),
            ("{{index .List 9}}", "9"),
            ("{{\"open}}", "not closed"),
            ("{{.List | 5}}", "function"),
        ] {
            let error = fill(template, &value()).unwrap_err().to_string();
            assert!(error.contains(part), "{template}: {error}");
        }
        assert!(Template::new(&"{{(".repeat(5000)).is_err());
        assert!(Template::new(&format!("{{{{{}", "(".repeat(5000))).is_err());
    }
}
