//! The engine: images, containers, volumes, networks and builds on top of the runtime core.
//!
//! The crate `plim` is its command line. This crate takes no arguments, prints nothing, exits no process, and executes no program but
//! the one that it was given ([`containers::Helper`]); what it does is told to a [`progress::Progress`].

pub mod builder;
pub mod containers;
pub mod duration;
pub mod events;
pub mod image;
pub mod layer;
mod lock;
pub mod network;
pub mod progress;
pub mod volume;
