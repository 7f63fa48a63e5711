//! What checks are made with: fixtures for the kernel, a runtime and an engine, needs, faults, evidence, audit and clean-up.

pub mod audit;
mod busy;
pub mod check;
pub mod clean;
pub mod engine;
pub mod fake_host;
pub mod fault;
pub mod kernel;
pub mod loopdev;
pub mod measure;
pub mod mutate;
pub mod need;
pub mod notebook;
mod patience;
pub mod probes;
pub mod property;
pub mod remove;
mod role;
pub mod run;
pub mod runtime;
pub mod sandbox;
mod shared_engine;
pub mod terminal;
pub mod trouble;
pub mod turn;

pub use probe::{channel, verbs};
