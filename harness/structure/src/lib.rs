//! The shape of the sources. `tests/workspace.rs` applies it to every crate of the workspace:
//!
//! - [`circles`]: no circle of files inside a crate. Crate borders are checked by the compiler.
//! - [`sizes`]: no file over 400 lines and no function over 60, tests aside.
//! - [`types`]: no error that is only text, no question to a message for its words, and no JSON without a type in the probe.
//!
//! A file or function that must be longer says why in a comment that begins with [`sizes::MARKER`].

pub mod circles;
pub mod sizes;
pub mod tree;
pub mod types;
