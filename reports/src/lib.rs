//! The records of Plimsoll - what a run, a check, a verdict and a piece of evidence are - and how they are shown.
//!
//! This crate runs nothing: it can read and show records of any machine.

pub mod bench;
pub mod charts;
pub mod difference;
pub mod fleet;
pub mod html;
pub mod json;
pub mod junit;
pub mod kcidb;
pub mod ktap;
pub mod markdown;
pub mod matrix;
pub mod record;
pub mod terminal;

pub use record::{
    Area, Evidence, Expectation, Host, KernelFile, Outcome, Proof, Run, Scope, Series, SubjectInfo, Verdict,
};
