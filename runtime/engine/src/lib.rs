//! The engine: images, containers, volumes, networks and builds on top of the runtime core.
//!
//! The crate `plim` is its command line. This crate takes no arguments, prints nothing, exits no process, and executes no program but
//! the one that it was given ([`containers::Helper`]); what it does is told to a [`progress::Progress`].
//!
//! ```
//! use engine::image::Reference;
//! use engine::network::publish::Port;
//!
//! let image: Reference = "registry.example:5000/web:2".parse()?;
//! assert_eq!(image.familiar(), "registry.example:5000/web:2");
//!
//! let [port] = Port::parse("127.0.0.1:8080:80")?.try_into().unwrap();
//! assert_eq!((port.host, port.container), (8080, 80));
//! # Ok::<(), runtime::Error>(())
//! ```

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
