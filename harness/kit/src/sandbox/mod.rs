//! The program in whose processes kernel checks run, and which plays the host.

mod enter;
mod play;
mod program;
mod services;
mod tries;

pub use play::Report;
pub use program::main;

pub use crate::role::SANDBOX as NAME;
