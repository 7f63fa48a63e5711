//! A runtime's words and bundles in those of an engine: with Docker's command line, or containerd's. What such an engine cannot be
//! asked for is an error with the name of the field: it is never left out.

pub mod by_ctr;
mod commands;
mod dialect;
mod mounts;
mod options;
mod request;
mod resources;
mod unexpressed;

pub use commands::command;
pub use dialect::Dialect;
pub use options::request;
pub use request::Request;
pub use unexpressed::Unexpressed;
