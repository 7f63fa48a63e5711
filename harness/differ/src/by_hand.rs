//! A finding as a directory: the bundle, how its root file system is made, and the commands that show it by hand.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::candidate::{Against, Candidate};
use crate::case::{Entry, Step};
use crate::document::{self, BUNDLE, Place};
use crate::file::Stored;
use crate::observed::kind;
use crate::search::Finding;
use crate::side::Side;

/// Id of the container that is run by hand.
const ID: &str = "plimsoll-by-hand";

/// A value as a text; nothing is "nothing".
pub fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// What a subject was compared with: another one's name, or the specification.
pub fn against<'s>(what: &Candidate, sides: &'s [Side]) -> &'s str {
    match what.against {
        Against::Side(side) => &sides[side].info.name,
        Against::Specification(_) => crate::known::SPECIFICATION,
    }
}

/// The sentence that decides, if there is one.
pub fn source(finding: &Finding) -> Option<String> {
    match finding.what.against {
        Against::Side(_) => None,
        Against::Specification(sentence) => Some(finding.case.refused_by().unwrap_or(sentence).to_owned()),
    }
}

/// A name for the finding's directory.
pub fn name(number: usize, finding: &Finding, sides: &[Side]) -> String {
    let text = format!("{number:03}-{}-{}", sides[finding.what.side].info.name, kind(&finding.what.field));
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || "-.".contains(letter) { letter } else { '-' };
    let name: String = text.chars().map(plain).take(80).collect();
    name.trim_end_matches('-').to_owned()
}

/// Writes the directory.
///
/// # Errors
/// It cannot be written.
pub fn write(dir: &Path, finding: &Finding, sides: &[Side]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let place = Place { id: ID, bundle: ".", host: "1", run: "by-hand" };
    let config = document::config(&finding.case, place);
    let json = |name: &str, value: &Value| fs::write(dir.join(name), serde_json::to_vec_pretty(value)?);
    json("config.json", &config)?;
    let stored =
        Stored { about: title(finding, sides), case: finding.case.clone(), expect: Default::default() };
    json("case.json", &serde_json::to_value(&stored)?)?;
    json("seen.json", &json!(finding.seen))?;
    for (number, step) in finding.case.steps.iter().enumerate() {
        match step {
            Step::Exec(edits) => {
                json(&format!("process{}.json", number + 1), &document::process(&config, edits, place))?;
            }
            Step::Update(resources) => json(&format!("resources{}.json", number + 1), resources)?,
            _ => {}
        }
    }
    fs::write(dir.join("make-rootfs"), script(&finding.case.rootfs))?;
    fs::write(dir.join("README.md"), readme(finding, sides))
}

fn title(finding: &Finding, sides: &[Side]) -> String {
    let subject = &sides[finding.what.side].info;
    format!("{}: {} ({})", finding.what.field, subject.name, subject.version)
}

/// How the root file system is made, by a shell.
fn script(entries: &[Entry]) -> String {
    let mut text =
        "#!/bin/sh -e\n# Makes the root file system: sh make-rootfs [PATH OF plimsoll]\n".to_owned();
    text += "mkdir -p rootfs/dev rootfs/proc rootfs/sys rootfs/tmp rootfs/etc volumes/directory/inner\n";
    text += "cp \"${1:-$(command -v plimsoll)}\" rootfs/probe\n";
    text += "echo text > volumes/file; echo text > volumes/directory/text\n";
    text += "ln -sfn directory volumes/link-to-directory; ln -sfn file volumes/link-to-file\n";
    for entry in entries {
        let path = quoted(&format!("rootfs/{}", entry.path()));
        let _ = writeln!(text, "mkdir -p \"$(dirname {path})\"; rm -rf {path}");
        let _ = match entry {
            // In double quotes: the directory is known when the script runs.
            Entry::Link { target, .. } => {
                writeln!(text, "ln -s \"{}\" {path}", target.replace(BUNDLE, "$PWD"))
            }
            Entry::File { text: inside, .. } => writeln!(text, "printf '%s' {} > {path}", quoted(inside)),
            Entry::Directory { mode, .. } => writeln!(text, "mkdir {path}; chmod {mode:o} {path}"),
            Entry::Fifo { .. } => writeln!(text, "mkfifo {path}"),
        };
    }
    text
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn readme(finding: &Finding, sides: &[Side]) -> String {
    let what = &finding.what;
    let subject = &sides[what.side].info;
    let mut text = format!("# {}\n\n", title(finding, sides));
    let _ = writeln!(
        text,
        "- `{}` on {} ({}): `{}`",
        what.field,
        subject.name,
        subject.version,
        shown(what.observed.as_ref())
    );
    let _ = writeln!(text, "- {}: `{}`", against(what, sides), shown(what.expected.as_ref()));
    if let Some(source) = source(finding) {
        let _ = writeln!(text, "- {source}");
    }
    let asked: Vec<String> = finding.case.fields().into_iter().collect();
    let _ = writeln!(
        text,
        "- the configuration has, beside the usual: {}",
        if asked.is_empty() { "nothing".into() } else { asked.join(", ") }
    );
    for other in finding.all.iter().filter(|other| other.field != what.field) {
        let _ = writeln!(
            text,
            "- also `{}`: `{}`, where the other says `{}`",
            other.field,
            shown(other.observed.as_ref()),
            shown(other.expected.as_ref())
        );
    }
    for (name, seen) in &finding.seen {
        for (operation, ended, said) in seen.operations.iter().filter(|(_, _, said)| !said.is_empty()) {
            let _ =
                writeln!(text, "- {name} {operation}: {ended}: {}", said.lines().next().unwrap_or_default());
        }
    }
    // Called by its own name, which our runtime's program file needs.
    let program = sides[what.side].runtime.program().name().to_string_lossy().into_owned();
    text += "\nBy hand, as root, in this directory:\n\n    sh make-rootfs\n";
    let _ = writeln!(text, "    echo '[\"snapshot\", \"/\"]' | {program} run --bundle . {ID}");
    if !finding.case.steps.is_empty() {
        text += "\nOperations while it runs, from another terminal (leave the first one's input open):\n\n";
    }
    for (number, step) in finding.case.steps.iter().enumerate() {
        let words = match step {
            Step::Exec(_) => format!("exec --process process{}.json {ID}", number + 1),
            Step::Update(_) => format!("update --resources resources{}.json {ID}", number + 1),
            Step::Kill(signal) => format!("kill {ID} {signal}"),
            other => format!("{} {ID}", other.command()),
        };
        let _ = writeln!(text, "    {program} {words}");
    }
    text += "\nBy Plimsoll, on any runtime:\n\n    plimsoll differ --replay case.json core RUNTIME\n";
    text
}
