//! The checks of Plimsoll: the catalogue, the subjects that it is run against, the faults that prove it, and the
//! order in which all of that happens.
//!
//! A check reads like the sentence that it proves; see any file of [`catalogue`].

pub mod audit;
pub mod catalogue;
pub mod check;
pub mod clean;
pub mod cli;
pub mod container;
pub mod dock;
pub mod fault;
pub mod findings;
pub mod host;
pub mod lab;
pub mod line;
pub mod loopdev;
pub mod matrix;
pub mod measure;
pub mod multicall;
pub mod need;
pub mod notebook;
pub mod probe;
pub mod probes;
pub mod property;
pub mod run;
pub mod schedule;
pub mod stage;
pub mod subject;
pub mod terminal;
pub mod trial;
