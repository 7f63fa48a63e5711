//! Files that may be records, read up to a limit: a device or a file without end does not fill the memory.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Bytes that a record may have. One of a run has less than two million, and a matrix is some dozens of them.
pub(crate) const LARGEST: u64 = 256 << 20;

/// Reads a file.
///
/// # Errors
/// It cannot be read, or is larger than [`LARGEST`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 <= LARGEST {
        return Ok(bytes);
    }
    Err(Error::new(ErrorKind::FileTooLarge, format!("larger than {LARGEST} bytes, so it is no record")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_no_record() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LARGEST + 1).unwrap();
        let error = read(file.path()).unwrap_err();
        assert!(error.to_string().contains("larger than 268435456 bytes"), "{error}");
        file.as_file().set_len(5).unwrap();
        assert_eq!(read(file.path()).unwrap(), [0; 5]);
    }
}
