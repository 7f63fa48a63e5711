//! The standard streams. The macros of the standard library panic where a stream cannot be written; these do not.

use std::fmt::Arguments;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use crate::text;

/// The first error of standard output; nothing is written after it.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes to standard output. The first error is kept for [`finish`], and what comes after it is dropped: the work goes on.
pub fn stdout(text: Arguments<'_>) {
    let mut lost = LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if lost.is_none() {
        *lost = io::stdout().lock().write_fmt(text).err();
    }
}

/// Writes to standard error, by one call: a container may write to the same file at the same time. If nobody can be told, nobody is.
pub fn stderr(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_all(text.to_string().as_bytes());
}

/// Writes a line to standard output with what a terminal would obey shown by its number. See [`crate::text`].
pub fn show(line: Arguments<'_>) {
    stdout(format_args!("{}\n", text::lines(&line.to_string())));
}

/// Writes a line to standard error, as [`show`].
pub fn complain(line: Arguments<'_>) {
    stderr(format_args!("{}\n", text::lines(&line.to_string())));
}

/// Writes a line that a program may read: exactly, unless standard output is a terminal.
pub fn value(line: &str) {
    if io::stdout().is_terminal() { show(format_args!("{line}")) } else { stdout(format_args!("{line}\n")) }
}

/// Writes JSON to standard output, as [`show`]; its value is kept.
pub fn document(json: &str) {
    stdout(format_args!("{}\n", text::json(json)));
}

/// Whether standard output failed: what prints without end then has nothing more to do.
pub fn is_lost() -> bool {
    LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_some()
}

/// To be called once at the end of a program: writes what is still in memory.
///
/// # Errors
/// Standard output could not be written. A reader who has gone (EPIPE) has had enough and is no error.
pub fn finish() -> io::Result<()> {
    let mut lost = LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let outcome = lost.take().map_or_else(|| io::stdout().lock().flush(), Err);
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Takes note of what became of a write to standard output that another library made.
pub fn keep(written: io::Result<()>) {
    let mut lost = LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if lost.is_none() {
        *lost = written.err();
    }
}

/// The last call of a program: as [`finish`], with its error told under the program's name. Returns the exit status: the one
/// given, or, if that means success and standard output failed, `failure`.
pub fn end(program: &str, status: u8, failure: u8) -> u8 {
    match finish() {
        Ok(()) => status,
        Err(error) => {
            stderr(format_args!("{program}: writing to standard output: {error}\n"));
            if status == 0 { failure } else { status }
        }
    }
}

/// Prints to standard output, without an end of line. See [`stdout`].
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::stdout(format_args!($($text)*)) };
}

/// Prints a line to standard output. See [`stdout`].
#[macro_export]
macro_rules! outln {
    () => { $crate::stdout(format_args!("\n")) };
    ($text:literal $($more:tt)*) => { $crate::stdout(format_args!("{}\n", format_args!($text $($more)*))) };
}

/// Prints to standard error, without an end of line. See [`stderr`].
#[macro_export]
macro_rules! err {
    ($($text:tt)*) => { $crate::stderr(format_args!($($text)*)) };
}

/// Prints a line to standard error. See [`stderr`].
#[macro_export]
macro_rules! errln {
    () => { $crate::stderr(format_args!("\n")) };
    ($text:literal $($more:tt)*) => { $crate::stderr(format_args!("{}\n", format_args!($text $($more)*))) };
}

/// Prints a line to standard output in which names from elsewhere cannot command a terminal. See [`show`](fn@crate::show).
#[macro_export]
macro_rules! showln {
    () => { $crate::stdout(format_args!("\n")) };
    ($($text:tt)*) => { $crate::show(format_args!($($text)*)) };
}

/// Prints a line to standard error, as [`showln!`].
#[macro_export]
macro_rules! complainln {
    () => { $crate::stderr(format_args!("\n")) };
    ($($text:tt)*) => { $crate::complain(format_args!($($text)*)) };
}
