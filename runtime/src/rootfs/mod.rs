//! The root file system of a container: mounts, devices, the switch to it, and what is hidden in it.

pub mod attributes;
mod cgroupfs;
mod copy_up;
pub mod detached;
pub mod devices;
mod guard;
pub mod hide;
mod layers;
pub mod mounts;
pub mod null;
pub mod options;
pub mod proc;
pub mod resolve;
pub mod sources;
pub mod surroundings;
pub mod switch;
pub mod sysctl;
