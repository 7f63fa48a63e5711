//! The command `plimsoll`.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::roles::dispatch().unwrap_or_else(harness::cli::main)
}
