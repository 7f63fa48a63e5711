//! Fuzz targets: one for each parser that reads what comes from outside.
//!
//! A target takes any bytes and must return: no panic, no allocation beyond [`Bounded`], no time that grows faster than the
//! input. What it reads must also mean the same when it is written and read again, where there is a way to write it. The program
//! `fuzz` searches for inputs that break this; `cargo test -p fuzz` replays the seeds in `corpus/`, one directory a target.
//! docs/fuzzing.md says how to search and how to keep a finding.

mod bounded;
mod target;
mod targets;

pub use bounded::Bounded;
pub use target::Target;

/// All of them.
pub const TARGETS: &[Target] = targets::ALL;

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
