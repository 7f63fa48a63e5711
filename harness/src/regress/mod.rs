//! Known bugs of OCI runtimes, old versions that have them, and whether the checks find them there: the second proof of the catalogue.

mod error;
mod obtain;
mod outcome;
mod table;

pub use error::Error;
pub use obtain::{Obtained, fetch, given};
pub use outcome::{plan, record};
pub use table::{Bug, Range, Release, Table, Version};
