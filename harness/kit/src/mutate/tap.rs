//! Where a subject is asked for something: what a check asks for is written down there, and one thing of it is changed.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::difference::{Field, fields};
use super::edits::{self, Edit};
use super::words::Words;
use crate::trouble::Trouble;

/// What a check asked for in one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Which document: `config.json`, or a command and the option whose file it is.
    pub document: String,
    /// The how-many-th of these documents it is.
    pub number: usize,
    /// What the check set, changed or took away.
    pub fields: Vec<Field>,
}

/// One small change of what a check asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutation {
    /// Of which document.
    pub document: String,
    /// In the how-many-th of these documents it was found. It is done to every one that asks for the same.
    pub number: usize,
    /// What is changed.
    pub edit: Edit,
}

impl std::fmt::Display for Mutation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.document, self.edit)
    }
}

/// What became of a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The check did not ask for it this time.
    NotDone,
    /// The subject took it.
    Taken,
    /// The subject refused it, with these words.
    Refused(String),
}

/// Stands between a fixture and its subject.
#[derive(Debug)]
pub struct Tap {
    mutation: Option<Mutation>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What differs from try to try, and stands for it in what was asked for.
    names: Vec<(String, &'static str)>,
    asked: Vec<Asked>,
    usual_process: Value,
    fate: Fate,
}

/// Files of JSON that commands take.
const FILES: &[(&str, &[&str])] = &[("exec", &["--process", "-p"]), ("update", &["--resources", "-r"])];

/// Options by which a fixture keeps hold of what it starts.
const OF_FIXTURE: &[&str] = &[
    "-d",
    "--detach",
    "--rm",
    "--name",
    "-i",
    "-t",
    "-it",
    "--pid-file",
    "--process",
    "-p",
    "--resources",
    "-r",
];

impl Tap {
    /// One that writes down what is asked for.
    pub fn survey() -> Self {
        Self::with(None)
    }

    /// One that changes one thing.
    pub fn under(mutation: Mutation) -> Self {
        Self::with(Some(mutation))
    }

    fn with(mutation: Option<Mutation>) -> Self {
        let state =
            State { names: Vec::new(), asked: Vec::new(), usual_process: Value::Null, fate: Fate::NotDone };
        Self { mutation, state: Mutex::new(state) }
    }

    /// The change, if there is one.
    pub fn mutation(&self) -> Option<&Mutation> {
        self.mutation.as_ref()
    }

    /// Begins a try: all that was seen before is forgotten.
    pub fn begin(&self, tag: &str, run: &str) {
        let mut state = self.state();
        state.names = vec![(tag.to_owned(), "{try}"), (run.to_owned(), "{run}")];
        state.asked.clear();
        state.fate = Fate::NotDone;
    }

    /// What was asked for.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// What became of the change.
    pub fn fate(&self) -> Fate {
        self.state().fate.clone()
    }

    /// Says that the subject refused what the change was done to.
    pub fn refused(&self, why: &str) {
        let mut state = self.state();
        if state.fate != Fate::NotDone {
            state.fate = Fate::Refused(why.to_owned());
        }
    }

    /// A configuration, beside the one that every check starts with; says whether it was changed.
    pub fn config(&self, usual: &Value, asked: &mut Value) -> bool {
        let mut state = self.state();
        state.usual_process = usual["process"].clone();
        self.document(&mut state, "config.json", usual, asked)
    }

    /// The words of a command, perhaps changed, and whether they were. Files of JSON that it names are changed in a copy in `dir`.
    ///
    /// # Errors
    /// Such a file cannot be written.
    pub fn words(&self, words: Vec<String>, dir: &Path) -> Result<(Vec<String>, bool), Trouble> {
        let Some(mut parts) = Words::split(&words) else { return Ok((words, false)) };
        let mut state = self.state();
        let mut done = self.file(&mut state, &mut parts, dir)?;
        let usual: serde_json::Map<String, Value> = parts
            .options
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| OF_FIXTURE.contains(&name.as_str()))
            .map(|(name, values)| (name.clone(), values.clone()))
            .collect();
        let name = parts.command.clone();
        done |= self.document(&mut state, &name, &Value::Object(usual), &mut parts.options);
        Ok(if done { (parts.join(), true) } else { (words, false) })
    }

    fn file(&self, state: &mut State, parts: &mut Words, dir: &Path) -> Result<bool, Trouble> {
        let Some((_, names)) = FILES.iter().find(|(command, _)| *command == parts.command) else {
            return Ok(false);
        };
        let Some((option, file)) = parts.file(names).filter(|(_, file)| file != "-") else {
            return Ok(false);
        };
        // What cannot be read or is no JSON is the check's own way to ask for a refusal.
        let text = std::fs::read(&file).unwrap_or_default();
        let Ok(mut asked) = serde_json::from_slice::<Value>(&text) else { return Ok(false) };
        let usual = if parts.command == "exec" { state.usual_process.clone() } else { json!({}) };
        let document = format!("{} {}", parts.command, names[0]);
        if !self.document(state, &document, &usual, &mut asked) {
            return Ok(false);
        }
        let copy = dir.join("mutated.json");
        std::fs::write(&copy, serde_json::to_vec(&asked)?)?;
        parts.options[option] = json!([copy.display().to_string()]);
        Ok(true)
    }

    fn document(&self, state: &mut State, document: &str, usual: &Value, asked: &mut Value) -> bool {
        let number = state.asked.iter().filter(|other| other.document == document).count();
        let plain = state.plain(asked);
        let fields = changed(&state.plain(usual), &plain);
        state.asked.push(Asked { document: document.to_owned(), number, fields });
        let Some(mutation) = self.mutation.as_ref().filter(|mutation| mutation.document == document) else {
            return false;
        };
        if !mutation.fits(number, &plain) {
            return false;
        }
        let done = state.own(&mutation.edit).apply(asked);
        if done && state.fate == Fate::NotDone {
            state.fate = Fate::Taken;
        }
        done
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A document without the names of the try.
    fn plain(&self, document: &Value) -> Value {
        texts(document, &|text| {
            self.names.iter().fold(text.to_owned(), |text, (name, sign)| text.replace(name, sign))
        })
    }

    /// A change with the names of the try.
    fn own(&self, edit: &Edit) -> Edit {
        let after = edit.after.as_ref().map(|after| {
            texts(after, &|text| {
                self.names.iter().fold(text.to_owned(), |text, (name, sign)| text.replace(sign, name))
            })
        });
        Edit { after, ..edit.clone() }
    }
}

/// A document with each of its texts changed.
fn texts(value: &Value, change: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(all) => all.iter().map(|one| texts(one, change)).collect(),
        Value::Object(all) => all.iter().map(|(key, one)| (key.clone(), texts(one, change))).collect(),
        other => other.clone(),
    }
}

/// What a check changed, and the arrays of it to which something could be added. What the probe is told to do is no part of what a
/// subject is asked for.
fn changed(usual: &Value, asked: &Value) -> Vec<Field> {
    let mut all = fields(usual, asked);
    all.retain(|field| !field.pointer.starts_with("/process/args") && !field.pointer.starts_with("/args"));
    let mut more: Vec<Field> = Vec::new();
    for field in &all {
        let Some((array, _)) = field.pointer.rsplit_once('/') else { continue };
        let Some(Value::Array(elements)) = asked.pointer(array) else { continue };
        let place = format!("{array}/-");
        if let Some(element) = edits::addition(array, elements)
            && !more.iter().any(|other| other.pointer == place)
        {
            more.push(Field { pointer: place, asked: None, usual: Some(element) });
        }
    }
    all.extend(more);
    all
}

impl Mutation {
    /// Whether it is to be done to a document: it has the same in the same place, or it is the one where it was found.
    fn fits(&self, number: usize, document: &Value) -> bool {
        let there = document.pointer(&self.edit.pointer);
        match &self.edit.before {
            Some(before) => there == Some(before) || (number == self.number && there.is_some()),
            None => there.is_none(),
        }
    }
}

/// At most so many mutations of what a check asked for, the same for the same seed.
pub fn mutations(asked: &[Asked], seed: u64, most: usize) -> Vec<Mutation> {
    let mut all: Vec<(String, Mutation)> = Vec::new();
    for Asked { document, number, fields } in asked {
        for edit in fields.iter().flat_map(|field| edits::edits(field, seed)) {
            let is_known =
                |(_, other): &(String, Mutation)| other.document == *document && other.edit == edit;
            if !all.iter().any(is_known) {
                let place = format!("{document} {}", edit.pointer);
                all.push((place, Mutation { document: document.clone(), number: *number, edit }));
            }
        }
    }
    edits::choose(all, seed, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(usual: &Value, asked: &Value) -> Vec<Mutation> {
        let tap = Tap::survey();
        tap.begin("plimsoll-r-1x1", "r");
        assert!(!tap.config(usual, &mut asked.clone()));
        mutations(&tap.asked(), 1, 100)
    }

    #[test]
    fn a_mutation_found_in_one_try_is_done_in_the_next() {
        let usual = json!({"process": {"args": ["/probe", "serve"]}, "linux": {}});
        let asked = |tag: &str| {
            json!({
                "process": {"args": ["/probe", "other"]},
                "linux": {"resources": {"pids": {"limit": 16}}},
                "mounts": [{"source": format!("/run/{tag}/volume"), "options": ["ro"]}]
            })
        };
        let found = survey(&usual, &asked("plimsoll-r-1x1"));
        assert!(found.iter().all(|mutation| !mutation.edit.pointer.contains("args")), "{found:?}");
        assert!(found.len() > 3, "{found:?}");
        for mutation in found {
            let tap = Tap::under(mutation.clone());
            tap.begin("plimsoll-q-7x1", "q");
            let mut other = asked("plimsoll-q-7x1");
            assert!(tap.config(&usual, &mut other), "{mutation}");
            assert_ne!(other, asked("plimsoll-q-7x1"));
            assert!(!other.to_string().contains("{try}"), "{other}");
            assert_eq!(tap.fate(), Fate::Taken);
            tap.refused("no");
            assert_eq!(tap.fate(), Fate::Refused("no".into()));
        }
    }

    #[test]
    fn files_of_commands_are_mutated_in_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("process.json");
        std::fs::write(&file, r#"{"args": ["/probe"], "user": {"uid": 1000}}"#).unwrap();
        let words = ["exec", "--process", file.to_str().unwrap(), "ID"].map(str::to_owned).to_vec();
        let tap = Tap::survey();
        tap.words(words.clone(), dir.path()).unwrap();
        let mutation = mutations(&tap.asked(), 1, 100)
            .into_iter()
            .find(|mutation| mutation.edit.pointer.ends_with("uid"))
            .unwrap();
        assert_eq!(mutation.document, "exec --process");
        let (changed, done) = Tap::under(mutation).words(words, dir.path()).unwrap();
        assert!(done && changed[1].ends_with("mutated.json"), "{changed:?}");
        assert!(std::fs::read_to_string(&file).unwrap().contains("1000"), "the check's own file stays");
    }

    #[test]
    fn what_is_asked_for_again_is_mutated_again_and_what_is_not_stays() {
        let usual = json!({"process": {}});
        let mutation = survey(&usual, &json!({"process": {}, "x": 2})).remove(0);
        let tap = Tap::under(mutation);
        for (asked, done) in [(json!({"x": 2}), true), (json!({"y": 2}), false), (json!({"x": 2}), true)] {
            assert_eq!(tap.config(&usual, &mut asked.clone()), done, "{asked}");
        }
    }
}
