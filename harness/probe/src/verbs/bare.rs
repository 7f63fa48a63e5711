//! System calls as no library would make them: by number, and by the tables of other architectures.

use serde::{Deserialize, Serialize};

use crate::ask::{Act, verbs, word_arguments};
use crate::bare::{call, nested_proc as nest};
use crate::failure::Done;

pub use crate::bare::{Called, Way};

verbs! {
    /// System calls as no library would make them.
    Bare {
        /// Makes a call in a child with up to six arguments: numbers, or `@TEXT` for the address of a string.
        "system-call" system_call: SystemCall { way: Way, number: i64, arguments: Vec<String> } -> Called;
        /// Makes user, PID and mount namespaces below this one, mounts a proc there at a path, and reads a file of it.
        "nested-proc" nested_proc: MakeNestedProc { path: String, file: String } -> NestedProc;
    }
}

word_arguments!(Way);

/// What came of a proc in nested namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NestedProc {
    /// The error number of mounting it, or 0.
    pub errno: i32,
    /// Whether the file can be read.
    pub reads: bool,
}

impl Act for SystemCall {
    fn act(self) -> Done<Called> {
        call(self.way, self.number, &self.arguments)
    }
}

impl Act for MakeNestedProc {
    fn act(self) -> Done<NestedProc> {
        let (errno, reads) = nest(&self.path, &self.file)?;
        Ok(NestedProc { errno, reads })
    }
}
