//! Files into which a runtime writes a PID.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::patience::PATIENCE;
use crate::trouble::Trouble;

/// A pid file is written at about the time at which the application starts, by some runtimes just after.
pub(super) fn read_pid(path: &Path) -> Result<i32, Trouble> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(pid) = std::fs::read_to_string(path).unwrap_or_default().trim().parse() {
            return Ok(pid);
        }
        if Instant::now() > deadline {
            return Err(Trouble::Subject(format!("no PID was written to {}", path.display())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
