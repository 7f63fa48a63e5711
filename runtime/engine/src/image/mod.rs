//! Images: a store addressed by content, the layers unpacked beside it, and the ways in and out.
//!
//! Source: OCI image-spec; Docker's image specification v1.2 for the archives of `docker save`.

mod archive;
mod cache;
mod compress;
mod digest;
mod gc;
mod layers;
mod names;
mod parallel;
mod reference;
#[cfg(feature = "registry")]
pub mod registry;
mod size;
mod store;
mod types;

pub use archive::{Loaded, import, load, save};
pub use cache::Cached;
pub use compress::{Compression, decompress};
pub use digest::{Digest, Hashing};
pub use gc::{Freed, Problem, check, collect, remove};
pub(crate) use gc::{damaged_record, is_gone};
pub use reference::{DEFAULT_REGISTRY, Reference};
pub use store::{Image, Store, Use};
pub use types::{
    Config, Descriptor, Execution, Index, Manifest, Platform, REF_NAME, RootFs, Step, architecture, media,
};
