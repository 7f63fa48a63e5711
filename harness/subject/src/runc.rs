//! runc, and whatever takes its command line: crun, youki, runsc, our own runtime at a path, a wrapper around one of them.

use crate::program::Program;
use crate::runtime::Runtime;
use crate::said::Said;

/// A runtime with runc's command line.
#[derive(Debug)]
pub(crate) struct RuncLike {
    name: String,
    program: Program,
}

impl RuncLike {
    /// One if the program says that it is a runtime.
    pub(crate) fn recognise(name: &str, program: &Program, said: &Said) -> Option<Self> {
        said.is_runtime().then(|| Self { name: name.to_owned(), program: program.clone() })
    }
}

impl Runtime for RuncLike {
    fn name(&self) -> &str {
        &self.name
    }

    fn program(&self) -> &Program {
        &self.program
    }
}
