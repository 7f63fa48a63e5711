//! Files of /proc and of cgroup file systems.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Room for what such a file usually holds: it says that its size is 0, and without room it would be read bit by bit, at first 32 bytes.
const USUAL: usize = 4096;

/// Reads such a file as a whole.
///
/// # Errors
/// The kernel's.
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::with_capacity(USUAL);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}
