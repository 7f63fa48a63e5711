//! What a check of a low-level runtime works with.

mod builder;
mod caller;
mod container;
mod driver;
mod engine_commands;
mod exec;
mod finish;
mod fixture;
mod group_name;
mod handed;
mod pid_file;
mod start;
mod steps;
mod through_ctr;
mod through_docker;
mod through_engine;
mod way;

pub use builder::ContainerBuilder;
pub use caller::Caller;
pub use container::Container;
pub use driver::Driver;
pub use exec::Exec;
pub use fixture::RuntimeFixture;
pub use group_name::GroupName;
pub use start::{Refusal, Started};
