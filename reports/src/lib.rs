//! How the records of Plimsoll are read, compared and shown.
//!
//! This crate runs nothing: it can read and show records of any machine. What a record is says the crate `record`.

pub mod bench;
pub mod catch_rate;
pub mod charts;
pub mod difference;
pub mod fleet;
pub mod form;
pub mod forms;
pub mod gate;
pub mod github;
pub mod html;
pub mod json;
pub mod junit;
pub mod kcidb;
pub mod ktap;
pub mod markdown;
pub mod matrix;
pub mod openmetrics;
pub mod sarif;
pub mod summary;
pub mod terminal;
