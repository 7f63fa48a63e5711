//! The first of several rows in which something is as in the last and no longer as in the first, by halving.

/// What was found between the first row, which is like itself, and the last, which is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The last row that is known to be like the first.
    pub before: usize,
    /// The first row that is known to be like the last.
    pub after: usize,
}

impl Edge {
    /// Whether nothing is left between both: rows that said nothing may be.
    pub fn is_sharp(self) -> bool {
        self.before + 1 == self.after
    }
}

/// Looks for the edge in `length` rows, of which the first and the last are known. `is_after` says of a row whether it is like the
/// last; `None` if it says nothing, and then its neighbours are asked.
///
/// # Errors
/// What `is_after` says; the search ends there.
///
/// # Panics
/// With fewer than two rows there is no edge.
pub fn edge<E>(length: usize, mut is_after: impl FnMut(usize) -> Result<Option<bool>, E>) -> Result<Edge, E> {
    assert!(length >= 2, "an edge lies between two rows");
    let mut edge = Edge { before: 0, after: length - 1 };
    let mut silent = vec![false; length];
    while let Some(row) = next(edge, &silent) {
        match is_after(row)? {
            Some(true) => edge.after = row,
            Some(false) => edge.before = row,
            None => silent[row] = true,
        }
    }
    Ok(edge)
}

/// The row nearest to the middle that did not stay silent.
fn next(edge: Edge, silent: &[bool]) -> Option<usize> {
    let middle = edge.before.midpoint(edge.after);
    (edge.before + 1..edge.after).filter(|row| !silent[*row]).min_by_key(|row| row.abs_diff(middle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_edge_is_found_whatever_stays_silent(
            length in 2_usize..40,
            place in any::<prop::sample::Index>(),
            silence in prop::collection::vec(prop::bool::weighted(0.2), 40),
        ) {
            let first = 1 + place.index(length - 1);
            let mut asked = Vec::new();
            let found = edge(length, |row| {
                asked.push(row);
                Ok::<_, ()>((!silence[row]).then_some(row >= first))
            }).unwrap();
            prop_assert!(found.before < first && first <= found.after);
            prop_assert!((found.before + 1..found.after).all(|row| silence[row]), "all that could speak was asked");
            prop_assert!(asked.iter().all(|row| (1..length - 1).contains(row)));
            let mut once = asked.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), asked.len(), "no row twice");
        }
    }

    #[test]
    fn rows_that_all_speak_are_halved() {
        let mut asked = 0;
        let found = edge(33, |row| {
            asked += 1;
            Ok::<_, ()>(Some(row >= 20))
        });
        assert_eq!((found, asked), (Ok(Edge { before: 19, after: 20 }), 5));
        assert_eq!(edge(9, |_| Err::<Option<bool>, _>("broken")), Err("broken"));
    }
}
