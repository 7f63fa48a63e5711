//! The program that searches: libFuzzer with one of the targets. `harness/fuzz/run` builds it with the coverage that the search
//! goes by, and starts it.

#![no_main]

use std::sync::OnceLock;

use fuzz::{Bounded, TARGETS, Target, find};

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// Which target, by name.
const CHOICE: &str = "PLIMSOLL_FUZZ_TARGET";

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var(CHOICE).unwrap_or_default();
        find(&name).unwrap_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("fuzz: {CHOICE} is '{name}': give one of {}", names.join(", "));
            std::process::exit(2);
        })
    })
}

libfuzzer_sys::fuzz_target!(init: { let _ = chosen(); }, |data: &[u8]| (chosen().run)(data));
