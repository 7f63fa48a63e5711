//! The lifecycle of a container, over all the other parts. Source: OCI runtime-spec, runtime.md.

mod asked;
mod converse;
mod create;
mod exec;
mod lifecycle;
mod listener;
mod state;
mod undo;

pub use create::{Created, Options};
pub use exec::{Exec, Started};
pub use lifecycle::Container;
pub use state::{State, Status, default_root};
