//! Property checks: many cases, shrunk to the smallest that fails, from a seed that can be given again.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::Scene;
use crate::check::{Checked, Trouble};

impl Scene {
    /// Expects that no case is a counterexample. `test` says what is wrong with a case, or nothing.
    ///
    /// # Errors
    /// Never: trouble with a case is a counterexample too, and shown as one.
    pub fn expect_property<S: Strategy>(
        &mut self,
        id: &str,
        cases: u32,
        strategy: &S,
        test: impl Fn(&Scene, S::Value) -> Result<Option<String>, Trouble>,
    ) -> Checked {
        let seed = crate::run::seed();
        self.seen.note(format!("seed {seed}: plimsoll check {id} --seed {seed}"));
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let configuration =
            Config { cases, failure_persistence: None, max_shrink_iters: 256, ..Config::default() };
        let mut runner =
            TestRunner::new_with_rng(configuration, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let scene: &Scene = self;
        let held = runner.run(strategy, |case| {
            let lie = test(scene, case).map_err(|trouble| TestCaseError::fail(format!("{trouble:?}")))?;
            lie.map_or(Ok(()), |lie| Err(TestCaseError::fail(lie)))
        });
        let text = held.err().map_or_else(|| "none".to_owned(), |error| error.to_string());
        let holds = text == "none";
        self.seen.expect(&format!("counterexample in {cases} cases"), text, "none", holds);
        Ok(())
    }
}
