//! What a build reads.

use std::path::Path;

use engine::builder::{Ignore, check};

pub(super) fn dockerfile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = check(text, "Dockerfile");
}

/// The first part is the file, the others are paths.
pub(super) fn dockerignore(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = super::parts::parts(text.as_bytes()).map(String::from_utf8_lossy);
    let Ok(ignore) = Ignore::parse(&parts.next().unwrap_or_default()) else { return };
    for path in parts.take(8) {
        let _ = ignore.leaves_out(Path::new(&*path));
    }
}
