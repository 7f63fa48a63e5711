//! Ids and times.

use std::fs::File;
use std::io::Read;
use std::time::SystemTime;

/// The time now, as RFC 3339.
pub fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}

/// 64 hexadecimal digits that nobody has guessed.
pub fn new_id() -> String {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .expect("every kernel has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name under which the engine's program is the first process of a container with `--init`.
pub const INIT: &str = "docker-init";

/// Its path in such a container.
pub(super) const INIT_PATH: &str = "/sbin/docker-init";

/// A file in a container's directory while it is stopped by hand: its restart policy does not hold then.
pub(super) const STOPPED: &str = "stopped";
