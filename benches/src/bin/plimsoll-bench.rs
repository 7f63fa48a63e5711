//! Paired measurements of what containers cost.

use std::process::ExitCode;

fn main() -> ExitCode {
    // It is the probe and the runtime core of its own measurements, under their names.
    harness::roles::dispatch().or_else(benches::floor::dispatch).unwrap_or_else(benches::cli::main)
}
