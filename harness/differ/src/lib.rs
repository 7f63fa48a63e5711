//! Differential search: the same container on several runtimes, and what each makes of it.
//!
//! A [`Case`] is a usual configuration with some changes, a root file system, and operations. [`Seeded`] generates them; [`Stage::play`]
//! plays one on a [`Side`] and returns what was [`Observed`]; [`Search`] compares, asks the specification (`rules`), and makes what differs
//! as small as it can be.

mod area;
mod bundle;
pub mod by_hand;
mod candidate;
mod case;
mod command;
mod document;
mod file;
mod generate;
mod host;
mod known;
mod life;
mod normal;
mod observed;
mod oracle;
mod pointer;
mod prove;
mod rules;
mod search;
mod side;
mod stage;

pub use area::{Area, Unknown};
pub use candidate::{Against, Candidate};
pub use case::{Case, Edit, Entry, Step};
pub use command::{Ended, LIMIT};
pub use file::{Error, Problem, Stored, stored};
pub use generate::Seeded;
pub use known::{Entry as KnownEntry, Invalid, Known, SPECIFICATION};
pub use observed::{Difference, Observed, kind};
pub use prove::{Faults, Told};
pub use search::{Finding, Plan, Search, Searched, Seen, Watch};
pub use side::Side;
pub use stage::Stage;
