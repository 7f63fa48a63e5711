//! What checks are made with: fixtures for the kernel, a runtime and an engine, needs, faults, evidence, audit and clean-up.

pub mod audit;
pub mod check;
pub mod clean;
pub mod container;
pub mod dock;
pub mod fault;
pub mod lab;
pub mod loopdev;
pub mod measure;
pub mod need;
pub mod notebook;
pub mod probes;
pub mod property;
pub mod run;
pub mod stage;
pub mod terminal;
pub mod trial;
pub mod trouble;

pub use probe::{channel, verbs};
