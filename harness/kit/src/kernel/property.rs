//! Property checks of the kernel.

use proptest::strategy::Strategy;

use super::fixture::KernelFixture;
use crate::property;
use crate::trouble::{Checked, Trouble};

impl KernelFixture {
    /// Expects that no case is a counterexample. `test` says what is wrong with a case, or nothing.
    ///
    /// # Errors
    /// Same errors as [`property::Searched::expect_none`].
    pub fn expect_property<S: Strategy>(
        &mut self,
        id: &str,
        cases: u32,
        strategy: &S,
        test: impl Fn(&KernelFixture, S::Value) -> Result<Option<String>, Trouble>,
    ) -> Checked {
        let searched = property::search(id, self.seed(), cases, 256, strategy, |case| test(self, case));
        searched.expect_none(&mut self.seen)
    }
}
