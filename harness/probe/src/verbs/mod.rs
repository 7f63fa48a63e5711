//! All verbs, one file for each group: their arguments, their answers, and what they do.

pub mod attempt;
pub mod bare;
pub mod cpu;
pub mod files;
pub mod ipc;
pub mod look;
pub mod measure;
pub mod net;
pub mod program;
pub mod snapshot;
pub mod state;
pub mod tasks;
pub mod terms;
pub mod tree;

pub use crate::ask::Ask;
