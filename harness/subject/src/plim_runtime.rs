//! Our own runtime: this very program file, under its other name.

use crate::program::Program;
use crate::runtime::Runtime;

/// Name under which this program is our own runtime.
pub const NAME: &str = "plim-runtime";

/// Our own runtime.
#[derive(Debug)]
pub(crate) struct PlimRuntime {
    name: String,
    program: Program,
}

impl PlimRuntime {
    pub(crate) fn new(name: &str, program: Program) -> Self {
        Self { name: name.to_owned(), program }
    }
}

impl Runtime for PlimRuntime {
    fn name(&self) -> &str {
        &self.name
    }

    fn program(&self) -> &Program {
        &self.program
    }
}
