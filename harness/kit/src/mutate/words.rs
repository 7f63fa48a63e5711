//! The options of a command, as a document that can be mutated.

use serde_json::{Map, Value, json};

/// Commands whose options say what is asked for.
const COMMANDS: &[&str] = &["run", "create", "exec", "update", "commit", "build"];

/// Options without a value.
const FLAGS: &[&str] = &[
    "-d",
    "--detach",
    "--rm",
    "-i",
    "--interactive",
    "-t",
    "--tty",
    "-it",
    "-ti",
    "--read-only",
    "--privileged",
    "--init",
    "--no-cache",
    "-q",
    "--quiet",
    "-f",
    "--force",
    "-a",
    "--all",
    "--no-pivot",
    "--no-new-keyring",
    "--no-new-privs",
    "--ignore-paused",
    "--pull",
    "-P",
    "--publish-all",
];

/// A command in parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Words {
    /// Its name.
    pub(super) command: String,
    /// Each option with its values, in order; `true` for one that has none.
    pub(super) options: Value,
    rest: Vec<String>,
}

impl Words {
    /// The parts of a command; nothing if its options ask for nothing.
    pub(super) fn split(words: &[String]) -> Option<Self> {
        let (command, mut rest) = words.split_first()?;
        if !COMMANDS.contains(&command.as_str()) {
            return None;
        }
        let mut options = Map::new();
        while let Some((option, after)) = rest.split_first().filter(|(word, _)| is_option(word)) {
            let (name, value, after) = match option.split_once('=') {
                Some((name, value)) if option.starts_with("--") => (name, json!(value), after),
                _ if FLAGS.contains(&option.as_str()) => (option.as_str(), json!(true), after),
                _ => match after.split_first() {
                    Some((value, after)) => (option.as_str(), json!(value), after),
                    None => (option.as_str(), json!(true), after),
                },
            };
            if let Value::Array(values) = options.entry(name).or_insert_with(|| json!([])) {
                values.push(value);
            }
            rest = after;
        }
        Some(Self { command: command.clone(), options: Value::Object(options), rest: rest.to_vec() })
    }

    /// The words again.
    pub(super) fn join(&self) -> Vec<String> {
        let mut words = vec![self.command.clone()];
        let options = self.options.as_object().into_iter().flatten();
        for (name, values) in options {
            for value in values.as_array().into_iter().flatten() {
                match value {
                    Value::Bool(true) => words.push(name.clone()),
                    Value::Bool(false) => {}
                    Value::String(text) if name.starts_with("--") => words.push(format!("{name}={text}")),
                    other => words.extend([name.clone(), other.as_str().unwrap_or_default().to_owned()]),
                }
            }
        }
        words.extend(self.rest.iter().cloned());
        words
    }

    /// The file of an option, if the command has it.
    pub(super) fn file(&self, names: &[&str]) -> Option<(String, String)> {
        names.iter().find_map(|name| {
            let file = self.options.get(name)?.get(0)?.as_str()?;
            Some(((*name).to_owned(), file.to_owned()))
        })
    }
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-') && word != "--"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_from_values_and_from_what_follows() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let update = Words::split(&words("update --cpu-quota -1 --memory 64 ID")).unwrap();
        assert_eq!(update.options, json!({"--cpu-quota": ["-1"], "--memory": ["64"]}));
        assert_eq!(update.join(), words("update --cpu-quota=-1 --memory=64 ID"));
        let run = Words::split(&words("run -d -v a:b -v c:d --cpus=0.2 image -x --memory 5")).unwrap();
        assert_eq!(run.options, json!({"-d": [true], "-v": ["a:b", "c:d"], "--cpus": ["0.2"]}));
        assert_eq!(run.join(), words("run -d -v a:b -v c:d --cpus=0.2 image -x --memory 5"));
        assert!(Words::split(&words("kill ID TERM")).is_none());
    }
}
