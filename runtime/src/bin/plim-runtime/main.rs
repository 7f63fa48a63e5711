//! An OCI runtime, as runc is.

#![cfg_attr(early, no_main)]

mod arena;
#[cfg(early)]
mod entry;

#[global_allocator]
static MEMORY: arena::Arena = arena::Arena::new();

#[cfg(not(early))]
fn main() -> std::process::ExitCode {
    runtime::cli::main().into()
}
