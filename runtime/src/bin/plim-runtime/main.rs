//! An OCI runtime, as runc is.

#[cfg(all(target_arch = "x86_64", target_os = "linux", target_feature = "crt-static"))]
mod entry;

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::cli::main()
}
