//! What a container is asked to be: a typed subset of the OCI runtime specification, and its JSON.
//!
//! The types follow <https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md> and
//! `config-linux.md`; field documentation is given there and only repeated where Plimsoll adds a meaning.

mod example;
mod hooks;
mod linux;
mod load;
mod nullable;
mod process;
mod refusal;
mod resources;
pub mod scheduling;
mod seccomp;
mod spec;
pub(crate) mod sysctl;
mod validate;
mod validate_linux;

pub use example::{example, rootless_example};
pub use hooks::{Hook, Hooks};
pub use linux::{Device, IdMapping, Linux, Namespace, NetDevice, TimeOffset};
pub use load::{Bundle, load, read};
pub(crate) use nullable::{filled, nullable, object};
pub use process::{Capabilities, ConsoleSize, LARGEST_ID, Process, Rlimit, User, check_id, parse_id};
pub use resources::{
    BlockIo, Cpu, DeviceRule, HugePages, Memory, Network, Pids, Rdma, Resources, ThrottleDevice, WeightDevice,
};
pub use seccomp::{Seccomp, SeccompArg, SeccompRule};
pub use spec::{Mount, Root, Spec, VERSION};
pub(crate) use validate::check_process;
