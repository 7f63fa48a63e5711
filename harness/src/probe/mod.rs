//! The program that runs inside containers. Each verb does or sees one thing and answers with one line of JSON.
//!
//! It is called as `/probe VERB [ARGUMENT...]`, or as `/probe serve` and then answers requests on its standard input
//! until that ends.

mod cpu;
mod files;
mod look;
mod tasks;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

/// What a verb returns.
type Answer = Result<Value, String>;

/// Runs the program with its own arguments.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|verb| verb == "serve") {
        serve();
        return ExitCode::SUCCESS;
    }
    let answer = verb(&words);
    let status = if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    say(&answer);
    status
}

/// Answers requests until standard input ends.
pub fn serve() {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let answer = match serde_json::from_str::<Vec<String>>(&line) {
            Ok(words) => verb(&words),
            Err(error) => Err(format!("'{line}' is no request: {error}")),
        };
        say(&answer);
    }
}

fn say(answer: &Answer) {
    let line = match answer {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "error": error }),
    };
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn verb(words: &[String]) -> Answer {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["true"] => Ok(Value::Null),
        ["identity"] => look::identity(),
        ["processes"] => look::processes(),
        ["namespaces"] => look::namespaces(),
        ["read", path] => look::read(path),
        ["hostname"] => look::hostname(),
        ["set-hostname", name] => look::set_hostname(name),
        ["interfaces"] => look::interfaces(),
        ["listen"] => look::listen(),
        ["add-address", address] => look::add_address(address),
        ["reach", marker] => look::reach(marker),
        ["write", path, text] => files::write(path, text),
        ["remove", path] => files::remove(path),
        ["mkdir", path] => files::mkdir(path),
        ["mount", path] => files::mount_tmpfs(path),
        ["overlay", lower, upper, work, merged] => files::mount_overlay(lower, upper, work, merged),
        ["tick", path] => files::tick(path),
        ["spin", count] => cpu::spin(count),
        ["gaps", millis] => cpu::gaps(millis),
        ["hold", bytes] => tasks::hold(bytes),
        ["touch", bytes] => tasks::touch(bytes),
        ["touch-in-child", bytes] => tasks::touch_in_child(bytes),
        ["fork", most] => tasks::fork_until_refused(most),
        ["spawn", count] => tasks::spawn(count),
        other => Err(format!("unknown verb '{}'", other.join(" "))),
    }
}

/// Turns any error into the text of an answer.
fn told<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}
