//! Checks of the kernel: its primitives, in processes with namespaces of their own.

pub(crate) mod cgroup;
pub(crate) mod cpu;
pub(crate) mod cpu_burst;
pub(crate) mod group_rules;
pub(crate) mod identity;
pub(crate) mod landlock;
pub(crate) mod memory;
pub(crate) mod mounts;
pub(crate) mod objects;
pub(crate) mod overlay;
pub(crate) mod overlay_copyup;
pub(crate) mod overlay_merge;
pub(crate) mod overlay_model;
pub(crate) mod overlay_sharing;
pub(crate) mod pid;
pub(crate) mod pids;
pub(crate) mod time;
pub(crate) mod user;
