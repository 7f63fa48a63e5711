//! The command `plimsoll`: which checks run against what, in what order, and what is said of them.

mod attempt;
pub mod cli;
pub mod examine;
pub mod findings;
pub mod host;
pub mod interrupt;
pub mod jobs;
pub mod judge;
pub mod known;
pub mod preflight;
pub mod regress;
pub mod roles;
pub mod schedule;
pub mod session;
