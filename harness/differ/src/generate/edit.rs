//! What all strategies of edits are made with.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value;

use crate::area::Area;
use crate::case::Edit;

/// A strategy of edits.
pub(super) type Edits = BoxedStrategy<Edit>;

/// An edit of several places.
pub(super) fn edit(area: Area, set: &[(&str, Value)]) -> Edit {
    let set = set.iter().map(|(at, value)| ((*at).to_owned(), value.clone())).collect();
    Edit { area, set, refused_by: None }
}

/// Edits of one place.
pub(super) fn at<S>(area: Area, place: &'static str, values: S) -> Edits
where
    S: Strategy + 'static,
    S::Value: Into<Value>,
{
    values.prop_map(move |value| edit(area, &[(place, value.into())])).boxed()
}

/// One of these values. The first is the simplest.
pub(super) fn one_of<T: Clone + std::fmt::Debug + 'static>(
    values: &[T],
) -> impl Strategy<Value = T> + use<T> {
    select(values.to_vec())
}

/// One of these words.
pub(super) fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words).prop_map(str::to_owned)
}

/// Some of these words, in their order.
pub(super) fn some(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let most = all.len();
    subsequence(all, 0..=most)
}

/// At most so many of these words, in their order.
pub(super) fn few(words: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    let all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    subsequence(all, 0..=most.min(words.len()))
}
