//! Control groups: where a container's group lives on each hierarchy, and what can be done with it.
//!
//! A [`Group`] spans every hierarchy of the [`Layout`]; what differs between v1 and v2 is behind one trait.

mod changes;
mod controllers;
mod detect;
mod device_filter;
mod files;
mod generations;
mod group;
mod interface;
mod places;
mod stats;
mod ticket;
mod v1;
mod v2;

pub use detect::{Hierarchy, Layout, Mode, Version};
pub use group::{Directories, Group};
pub use interface::Part;
pub use stats::Stats;
pub use ticket::Ticket;
