//! How the records of Plimsoll are read, compared and shown.
//!
//! This crate runs nothing: it reads and shows records of any machine. The crate `record` defines what a record is.
//!
//! ```
//! use std::path::Path;
//!
//! let run = reports::json::read(Path::new("tests/data/run.json"))?;
//! let colours = false;
//! assert!(reports::terminal::table(&run, colours).contains("cpu.quota.20-percent"));
//! let worse = reports::difference::difference(&run, &run);
//! assert!(worse.is_empty(), "a record does not differ from itself");
//! # Ok::<(), reports::json::Error>(())
//! ```

pub mod bench;
mod bounded;
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
