//! An OCI runtime, as runc is.

#![cfg_attr(early, no_main)]

#[cfg(early)]
mod entry;

#[cfg(not(early))]
fn main() -> std::process::ExitCode {
    runtime::cli::main().into()
}
