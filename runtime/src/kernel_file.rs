//! Files of /proc and of cgroup file systems.

use std::io;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags, openat};

/// Initial buffer. These files report size 0, so `read_to_string` would start with 32 bytes.
const USUAL: usize = 4096;

/// Reads such a file as a whole.
///
/// # Errors
/// The kernel's.
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<String> {
    // The standard library would ask for the size and the position first.
    let file = openat(CWD, path.as_ref(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::with_capacity(USUAL);
    loop {
        match rustix::io::read(&file, spare_capacity(&mut text)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(0) => break,
            Ok(_) if text.len() == text.capacity() => text.reserve(USUAL),
            Ok(_) => {}
        }
    }
    String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
