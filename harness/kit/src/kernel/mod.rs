//! What a check of the kernel works with.

mod fixture;
mod group;
mod property;

pub use fixture::KernelFixture;
pub use group::Cell;
