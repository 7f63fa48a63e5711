//! The records of Plimsoll - what a run, a check, a verdict and a piece of evidence are - and how they are shown.
//!
//! This crate runs nothing: it can read and show records of any machine.

pub mod json;
pub mod matrix;
pub mod record;
pub mod terminal;

pub use record::{
    Area, Evidence, Expectation, Host, KernelFile, Outcome, Proof, Run, Scope, Series, SubjectInfo, Verdict,
};
