//! Operations on a running container. Source: runtime.md, Operations; runc's manual where the specification has none.

use proptest::collection::vec;
use proptest::prelude::*;

use super::edit::{Edits, word};
use super::resources::update;
use crate::case::Step;

/// One operation, or several that belong together.
pub(super) fn steps(edits: Edits) -> BoxedStrategy<Vec<Step>> {
    prop_oneof![
        4 => vec(edits, 0..3).prop_map(|edits| vec![Step::Exec(edits)]),
        4 => update().prop_map(|resources| vec![Step::Update(resources)]),
        1 => Just(vec![Step::Pause, Step::State, Step::Resume]),
        1 => Just(vec![Step::State]),
        1 => Just(vec![Step::Resume]),
        1 => Just(vec![Step::Start]),
        1 => Just(vec![Step::Delete]),
        1 => word(&["0", "CONT", "SIGCHLD", "NOSUCH", "999", "-1", "28"]).prop_map(|signal| vec![Step::Kill(signal)]),
    ]
    .boxed()
}
