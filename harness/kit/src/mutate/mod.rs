//! Mutations: a small change of what a check asked for, slipped under the subject. A check whose claim speaks of what was changed must
//! fail; one that does not would not notice a subject that gets it a little wrong.
//!
//! Only what a check set or changed itself is mutated: what it leaves as every check starts with is nothing that its claim speaks of.

mod difference;
mod edits;
mod random;
mod tap;
mod words;

pub use difference::{Field, fields};
pub use edits::Edit;
pub use tap::{Asked, Fate, Mutation, Tap, mutations};
