//! Property checks: many cases, shrunk to the smallest that fails, from a seed that can be given again.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::notebook::Notebook;
use crate::trouble::Trouble;

/// What a search for a counterexample came to.
#[derive(Debug)]
pub struct Searched {
    id: String,
    seed: u64,
    cases: u32,
    found: Option<String>,
}

/// Searches for a case in which something is wrong. `test` says what is wrong with a case, or nothing; trouble with a case is
/// a counterexample too, and shown as one.
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
    let held = runner.run(strategy, |case| {
        let lie = test(case).map_err(|trouble| TestCaseError::fail(format!("{trouble:?}")))?;
        lie.map_or(Ok(()), |lie| Err(TestCaseError::fail(lie)))
    });
    Searched { id: id.to_owned(), seed, cases, found: held.err().map(|error| error.to_string()) }
}

impl Searched {
    /// Expects that there was none.
    pub fn expect_none(self, seen: &mut Notebook) {
        seen.note(format!("seed {0}: plimsoll check {1} --seed {0}", self.seed, self.id));
        let holds = self.found.is_none();
        let text = self.found.unwrap_or_else(|| "none".to_owned());
        seen.expect(&format!("counterexample in {} cases", self.cases), text, "none", holds);
    }
}
