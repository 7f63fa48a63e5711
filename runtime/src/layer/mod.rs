//! Layers: what a container changed, and its form as an archive.
//!
//! Source: OCI image-spec, layer.md; `Documentation/filesystems/overlayfs.rst`.

mod archive;
mod diff;

pub use archive::write;
pub use diff::{Change, What, diff};
