//! CPU time of a thread.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CPU time of the calling thread.
pub(crate) fn own_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Uses so much CPU time.
pub(crate) fn burn_for(time: Duration) {
    let end = own_cpu_time() + time;
    while own_cpu_time() < end {
        std::hint::black_box(0);
    }
}
