//! What a check of a low-level runtime works with.

mod builder;
mod container;
mod driver;
mod exec;
mod fixture;
mod start;

pub use builder::Wanted;
pub use container::Container;
pub use driver::Driver;
pub use exec::Exec;
pub use fixture::Trial;
pub use start::{Refusal, Started};
