//! The engine: images, containers, volumes, networks and builds on top of the runtime core.
//!
//! The crate `plim` is its command line. This crate takes no arguments and exits no process.

pub mod builder;
pub mod containers;
pub mod image;
pub mod layer;
mod lock;
pub mod network;
pub mod overlay;
pub mod progress;
pub mod volume;
