//! What a check of an engine works with.

mod containers;
mod daemons;
mod fixture;
mod host;
mod layer;
mod output;

pub use containers::BASE;
pub(crate) use daemons::{Daemons, on_host};
pub use fixture::{After, Before, EngineFixture, Hook, Retell};
pub use layer::Layer;
pub use output::Output;
pub use subject::Ability;
