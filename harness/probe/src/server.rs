//! The program itself: a verb at a time, or one after the other.

use std::ffi::OsStr;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::ask::{Reply, Written};
use crate::bare;
use crate::failure::{Doing, Done};
use crate::name::SHELL;
use crate::request::Request;
use crate::shell;

/// Runs the program with its own arguments.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let called = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    if Path::new(&called).file_name() == Some(OsStr::new(SHELL)) {
        return shell::main(&words);
    }
    if words.first().is_some_and(|verb| verb == "serve") {
        if words.len() > 1 {
            // It was asked for a process with a fresh address space, and this is it.
            say(Ok(()));
        }
        serve();
        return ExitCode::SUCCESS;
    }
    if let [word, filter, next] = words.as_slice()
        && word == "behind"
        && next == "serve"
    {
        if let Err(failure) = bare::behind(filter) {
            output::errln!("probe: {failure}");
            return ExitCode::FAILURE;
        }
        serve();
        return ExitCode::SUCCESS;
    }
    let (quiet, answer) = match Request::read(&words) {
        // Nobody waits for the answer of a program.
        Ok(request) => (matches!(request, Request::Program(_)), request.act()),
        Err(failure) => (false, Err(failure)),
    };
    let status = if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if !(quiet && answer.is_ok()) {
        say(answer);
    }
    status
}

/// Answers requests until standard input ends.
pub fn serve() {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        say(answer(&line));
    }
}

fn answer(line: &str) -> Done<Written> {
    let words: Vec<String> = serde_json::from_str(line).doing(format_args!("invalid request '{line}'"))?;
    Request::read(&words)?.act()
}

fn say<T: Serialize>(answer: Done<T>) {
    let reply = match answer {
        Ok(answer) => Reply::Ok(answer),
        Err(failure) => Reply::Error(failure),
    };
    let Ok(mut line) = serde_json::to_vec(&reply) else { return };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // The reader may be gone.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}
