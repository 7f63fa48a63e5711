//! Measurements.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use crate::ask::{Act, verbs};
use crate::failure::Done;
use crate::measure::{Spread, items, operations, stream as bytes};

verbs! {
    /// Measurements.
    Measure {
        /// Does an operation so many times, with a directory where files may be made; how long all took, in nanoseconds.
        "bench" bench: Bench { operation: String, times: u32, scratch: String } -> u64;
        /// Answers TCP connections in the background, from anywhere, until the process ends; the port.
        "echo" echo: Echo {} -> u16;
        /// So many round trips of one byte; how long all took, in nanoseconds.
        "round-trips" round_trips: RoundTrips { host: Ipv4Addr, port: u16, times: u32 } -> u64;
        /// So many pieces in one direction until the other side has all of them; how long it took, in nanoseconds.
        "stream" stream: Stream { host: Ipv4Addr, port: u16, times: u32 } -> u64;
        /// Does items of so many microseconds of CPU time on so many threads for so many milliseconds.
        "work-items" work_items: WorkItems { millis: u64, micros: u64, threads: u32 } -> Spread;
        /// Does items that arrive at random, on each thread so many microseconds apart in the mean; a latency begins when the item
        /// arrives.
        "work-arrivals" work_arrivals: WorkArrivals { millis: u64, micros: u64, threads: u32, apart: u64 } -> Spread;
    }
}

impl Act for Bench {
    fn act(self) -> Done<u64> {
        operations::bench(&self.operation, self.times, Path::new(&self.scratch))
    }
}

impl Act for Echo {
    fn act(self) -> Done<u16> {
        bytes::echo()
    }
}

impl Act for RoundTrips {
    fn act(self) -> Done<u64> {
        bytes::trips(self.host, self.port, self.times)
    }
}

impl Act for Stream {
    fn act(self) -> Done<u64> {
        bytes::pieces(self.host, self.port, self.times)
    }
}

impl Act for WorkItems {
    fn act(self) -> Done<Spread> {
        let (lasting, size) = (Duration::from_millis(self.millis), Duration::from_micros(self.micros));
        items::items(lasting, size, self.threads)
    }
}

impl Act for WorkArrivals {
    fn act(self) -> Done<Spread> {
        let (lasting, size) = (Duration::from_millis(self.millis), Duration::from_micros(self.micros));
        items::arrivals(lasting, size, self.threads, Duration::from_micros(self.apart))
    }
}
