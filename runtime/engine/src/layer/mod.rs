//! Layers: what a container changed, its form as an archive, and the way back from an archive to a tree.
//!
//! Source: OCI image-spec, layer.md; `Documentation/filesystems/overlayfs.rst`.

mod archive;
mod diff;
mod extract;
mod guard;
mod metadata;
mod node;
mod pax;
mod place;

pub use archive::{
    COPY, Keep, Mounts, Style, copy_tree, through_pipe, write, write_one, write_some, write_tree,
};
pub use diff::{Change, What, diff, visit};
pub use extract::{Contents, Extracted, Limits, extract, extract_at};
pub use node::{FileId, Node};
