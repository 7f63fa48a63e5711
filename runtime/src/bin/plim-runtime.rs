//! An OCI runtime, as runc is.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::cli::main()
}
