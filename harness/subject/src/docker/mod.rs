//! Docker: with a daemon of its own for each data root, or with one that is running already.

mod daemon;
mod driver;

pub(crate) use driver::Docker;
