//! Processes: how they are cloned, prepared, executed, watched and signalled.

pub mod ahead;
pub mod channel;
pub mod clone;
pub mod credentials;
pub mod descriptors;
pub(crate) mod entry;
mod finish;
pub mod hooks;
mod init;
pub mod interrupt;
mod join;
mod keyring;
mod label;
pub(crate) mod mapping;
pub(crate) mod outside;
pub mod pidfd;
pub mod protect;
mod scheduling;
pub mod seccomp;
pub mod signal;
pub mod supervise;
pub mod terminal;

pub use init::{Gate, Init, sources_come};
pub use join::Join;

/// The program of that name on this host: the first in the directories of `PATH`.
pub fn in_path(name: &str) -> Option<std::path::PathBuf> {
    let dirs = std::env::var_os("PATH")?;
    std::env::split_paths(&dirs).map(|dir| dir.join(name)).find(|path| path.is_file())
}
