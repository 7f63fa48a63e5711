//! How long so many operations take, in nanoseconds.

use std::time::Instant;

use crate::failure::{Doing, Done};

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Does it so many times.
pub(super) fn timed(times: u32, mut act: impl FnMut()) -> u64 {
    let start = Instant::now();
    for _ in 0..times {
        act();
    }
    nanoseconds(start)
}

/// Does it so many times, if it does not fail.
pub(super) fn tried(times: u32, mut act: impl FnMut() -> std::io::Result<()>) -> Done<u64> {
    let start = Instant::now();
    for _ in 0..times {
        act().doing("the operation")?;
    }
    Ok(nanoseconds(start))
}
