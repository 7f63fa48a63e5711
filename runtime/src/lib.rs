//! A Linux container runtime core: small parts, each usable alone, and over them the command `plim-runtime`.
//!
//! One container starts like this, and the modules are best read in this order: a [`oci`] is loaded, its
//! [`cgroup`] made, a [`process`] cloned into its [`namespace`]s; that process builds the [`rootfs`], switches
//! to it, gives up what it may not keep, and executes the application.
//!
//! ```
//! use runtime::cgroup::Layout;
//! use runtime::oci;
//!
//! // The configuration that `plim-runtime spec` prints, with a limit.
//! let mut spec = oci::example();
//! let resources = spec.linux.get_or_insert_default().resources.get_or_insert_default();
//! resources.pids = Some(oci::Pids { limit: 64 });
//!
//! // Which controller is on which hierarchy of this host.
//! let layout = Layout::detect()?;
//! let limited = layout.owner("pids").is_some();
//! # let _ = limited;
//! # Ok::<(), runtime::Error>(())
//! ```

pub mod bounded;
pub mod cgroup;
pub mod cli;
pub mod container;
pub mod deadline;
pub mod error;
mod kernel_file;
pub mod namespace;
pub mod network;
pub mod oci;
pub mod overlay;
pub mod process;
pub mod rights;
pub mod rootfs;

pub use error::{Error, Result};
