//! Subjects: runtimes and engines that are checked. Each is one file: how its commands are given, and how it is recognised by what
//! it says of itself. All are driven as processes.
//!
//! ```
//! let refused = subject::Subject::named("/bin/true").unwrap_err();
//! assert_eq!(refused.kind, subject::ErrorKind::Unknown);
//! ```

pub mod bundle;
mod containerd;
mod docker;
mod engine;
mod error;
mod options;
mod plim;
mod plim_runtime;
mod podman;
mod program;
mod recognise;
mod runc;
mod runtime;
mod said;
mod service;
mod versions;

pub use engine::{Ability, Engine, Place, Words};
pub use error::{Error, ErrorKind};
pub use options::Options;
pub use plim::NAME as ENGINE;
pub use plim_runtime::NAME as CORE;
pub use program::{Program, Through, complaint};
pub use recognise::Subject;
pub use runtime::Runtime;
pub use service::Service;
pub use versions::{InvalidVersions, Versions};
