//! What measurements are made of: operations, streams of bytes, items of work.

pub(crate) mod items;
pub(crate) mod operations;
mod paths;
mod spread;
pub(crate) mod stream;
mod timing;

pub use operations::{DYNAMIC, OPERATIONS};
pub use spread::Spread;
