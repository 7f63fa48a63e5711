//! What things cost: paired measurements (`plimsoll bench`), and the parts of the core (`benches/parts.rs`, by `cargo bench`).

pub mod cli;
pub mod commits;
pub mod crowd;
pub mod disturbance;
pub mod engines;
pub mod error;
pub mod floor;
pub mod guest;
pub mod life;
pub mod namespaces;
pub mod network;
pub mod overlays;
pub mod paired;
pub mod runtimes;
pub mod session;
pub mod sides;
pub mod starts;
pub mod stats;
pub mod throttle;
pub mod tiny;

use std::path::Path;

pub use error::Error;

/// Makes an upper directory with so many files, as a container's changes would be.
///
/// # Errors
/// The files cannot be written.
pub fn fill_upper(dir: &Path, files: usize) -> std::io::Result<()> {
    for number in 0..files {
        let below = dir.join(format!("dir{}", number / 100));
        std::fs::create_dir_all(&below)?;
        std::fs::write(below.join(format!("file{number}")), number.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_upper_has_so_many_files() {
        let upper = tempfile::tempdir().unwrap();
        super::fill_upper(upper.path(), 250).unwrap();
        let changes = engine::layer::diff(upper.path()).unwrap();
        assert_eq!(changes.len(), 250 + 3);
    }
}
