//! All that is known of a container, in the form that Docker gives it: one type for each object of the JSON document, so that a
//! field is written once. Source: Docker Engine API 1.45, `ContainerInspect`.

mod config;
mod container;
mod host;
mod network;
mod parts;

pub use container::{Inspect, inspect};
pub use parts::{Empty, RootFs};
