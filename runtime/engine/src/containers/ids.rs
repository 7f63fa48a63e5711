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
