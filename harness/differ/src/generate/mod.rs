//! Where cases come from: strategies of proptest, one file for each part of a configuration.

mod all;
mod edit;
mod hooks;
mod linux;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod rootfs;
mod seccomp;
mod steps;
mod terms;
mod wrong;

pub use all::Seeded;
pub(crate) use all::Tree;
