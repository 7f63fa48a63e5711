//! Processes: how they are cloned, prepared, executed, watched and signalled.

pub mod channel;
pub mod clone;
pub mod credentials;
pub(crate) mod descriptors;
mod finish;
pub mod hooks;
mod init;
mod join;
pub mod pidfd;
pub mod protect;
pub mod seccomp;
pub mod supervise;
pub mod terminal;

pub use init::{Gate, Init};
pub use join::Join;
