//! Checks of low-level runtimes: observed from inside and outside their containers.

pub(crate) mod cgroup;
pub(crate) mod commit;
pub(crate) mod cpu;
pub(crate) mod cpu_quota;
pub(crate) mod cpu_shape;
pub(crate) mod devices;
pub(crate) mod escapes;
pub(crate) mod exec;
pub(crate) mod io;
pub(crate) mod isolation;
pub(crate) mod life;
pub(crate) mod memory;
pub(crate) mod memory_limit;
pub(crate) mod namespaces;
pub(crate) mod net;
pub(crate) mod rootfs;
pub(crate) mod rootfs_spec;
pub(crate) mod security;
pub(crate) mod tasks;
pub(crate) mod volumes;
