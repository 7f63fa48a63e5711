//! Where results go: a path that the user names ([`Output`]), and the standard streams ([`outln!`], [`errln!`]).
//!
//! All programs of this project use this crate, so that `-o /dev/null` never replaces the device, and `list | head -1` ends quietly.

mod file;
mod stream;
pub mod text;

pub use file::{Output, write_whole};
pub use stream::{complain, document, end, finish, is_lost, keep, show, stderr, stdout, value};
