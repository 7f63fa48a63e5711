//! Property checks: many cases, shrunk to the smallest that fails, from a seed that can be given again.

use std::cell::RefCell;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::notebook::Notebook;
use crate::trouble::{Checked, Trouble};

/// What a search for a counterexample came to.
#[derive(Debug)]
pub struct Searched {
    id: String,
    seed: u64,
    cases: u32,
    found: Option<String>,
    trouble: Option<Trouble>,
}

/// Searches for a case in which something is wrong. `test` says what is wrong with a case, or nothing. That a subject cannot do
/// its part is a counterexample too; trouble of the harness, noise and what cannot be tried say nothing of the claim, and end the
/// search.
pub fn search<S: Strategy>(
    id: &str,
    seed: u64,
    cases: u32,
    most_shrinking: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<Option<String>, Trouble>,
) -> Searched {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let configuration =
        Config { cases, failure_persistence: None, max_shrink_iters: most_shrinking, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(configuration, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let ended: RefCell<Option<Trouble>> = RefCell::new(None);
    let held = runner.run(strategy, |case| {
        // What is left of the search would shrink the trouble.
        if ended.borrow().is_some() {
            return Ok(());
        }
        match test(case) {
            Ok(None) => Ok(()),
            Ok(Some(lie)) => Err(TestCaseError::fail(lie)),
            Err(Trouble::Subject(text)) => Err(TestCaseError::fail(text)),
            Err(trouble) => {
                ended.replace(Some(trouble));
                Ok(())
            }
        }
    });
    let found = held.err().map(|error| error.to_string());
    Searched { id: id.to_owned(), seed, cases, found, trouble: ended.into_inner() }
}

impl Searched {
    /// Expects that there was none.
    ///
    /// # Errors
    /// The search did not come to its end.
    pub fn expect_none(self, seen: &mut Notebook) -> Checked {
        seen.note(format!("seed {0}: plimsoll check {1} --seed {0}", self.seed, self.id));
        if let (None, Some(trouble)) = (&self.found, self.trouble) {
            return Err(trouble);
        }
        let holds = self.found.is_none();
        let text = self.found.unwrap_or_else(|| "none".to_owned());
        seen.expect(&format!("counterexample in {} cases", self.cases), text, "none", holds);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searched(test: impl Fn(u8) -> Result<Option<String>, Trouble>) -> (Checked, Notebook) {
        let mut seen = Notebook::default();
        let checked = search("x", 1, 64, 64, &proptest::num::u8::ANY, test).expect_none(&mut seen);
        (checked, seen)
    }

    #[test]
    fn trouble_of_the_harness_is_no_counterexample() {
        let (checked, seen) = searched(|_| Err(Trouble::Harness("no such process".into())));
        assert!(matches!(checked, Err(Trouble::Harness(text)) if text == "no such process"));
        assert!(seen.0.expectations.is_empty());
        let (checked, seen) = searched(|case| Ok((case > 9).then(|| "too large".to_owned())));
        assert!(checked.is_ok() && !seen.0.expectations[0].holds);
        assert!(seen.0.expectations[0].observed.contains("10"), "it is the smallest");
        let (checked, seen) = searched(|_| Err(Trouble::Subject("it hangs".into())));
        assert!(checked.is_ok() && !seen.0.expectations[0].holds);
        assert!(searched(|_| Ok(None)).1.0.expectations[0].holds);
    }
}
