//! What a command of an engine says.

/// What a command said.
#[derive(Debug)]
pub struct Output {
    /// Its exit status, 128 + n for signal n.
    pub status: i32,
    /// Its standard output, without the last end of line.
    pub out: String,
    /// Its standard error.
    pub err: String,
}
