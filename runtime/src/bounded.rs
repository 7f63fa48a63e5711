//! Files that are read whole, up to a limit: a device or a file without end must not fill the memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Doing, Error, Result};
use crate::rootfs::resolve::read_bounded;

/// Configurations and records: larger ones are no document that anybody wrote.
pub const LARGEST_DOCUMENT: u64 = 16 << 20;

/// Reads a file of at most so many bytes.
///
/// # Errors
/// It cannot be read, or is larger; the error names the file and the limit.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let doing = || format!("reading {}", path.display());
    let file = File::open(path).doing(doing)?;
    read_from(file, &path.display().to_string(), limit)
}

/// The same; `None` if there is no such file.
///
/// # Errors
/// Same errors as [`read`].
pub fn read_if_there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match read(path, limit) {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        read => read.map(Some),
    }
}

/// The same as text.
///
/// # Errors
/// Same errors as [`read`], or it is no UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let bytes = read(path, limit)?;
    String::from_utf8(bytes).map_err(|error| Error::new(format!("reading {}: {error}", path.display())))
}

/// Reads what comes from anywhere else; `name` is for the error.
///
/// # Errors
/// Same errors as [`read`].
pub fn read_from(from: impl Read, name: &str, limit: u64) -> Result<Vec<u8>> {
    read_bounded(from, limit).map_err(|error| Error::new(format!("{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused_by_name_and_limit() {
        let error = read(Path::new("/dev/zero"), 1000).unwrap_err().to_string();
        assert!(error.contains("/dev/zero") && error.contains("1000 bytes"), "{error}");
        assert_eq!(read_from(&b"12345"[..], "it", 5).unwrap(), b"12345");
        assert!(read_from(&b"12345"[..], "it", 4).is_err());
    }
}
