//! A Linux container runtime core: small parts, each usable alone, and over them the command `plim-runtime`.
//!
//! One container starts like this, and the modules are best read in this order: a [`spec`] is loaded, its
//! [`cgroup`] made, a [`process`] cloned into its [`namespace`]s; that process builds the [`rootfs`], switches
//! to it, gives up what it may not keep, and executes the application.

pub mod build;
pub mod cgroup;
pub mod cli;
pub mod container;
pub mod engine;
pub mod error;
pub mod image;
mod kernel_file;
pub mod layer;
mod lock;
pub mod namespace;
pub mod network;
pub mod overlay;
pub mod plim;
pub mod process;
pub mod progress;
pub mod rootfs;
pub mod spec;
pub mod volume;

pub use error::{Error, Result};
