//! The root file system of a container: mounts, devices, the switch to it, and what is hidden in it.

mod cgroupfs;
pub mod devices;
pub mod hide;
pub mod mounts;
pub mod options;
pub mod resolve;
pub mod switch;
