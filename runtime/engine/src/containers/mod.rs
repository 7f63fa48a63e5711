//! Containers of images: what `plim run` is over the lifecycle that `plim-runtime` has.
//!
//! One container is a directory of the data root with the record of what was asked for, its writable layer and its log. While
//! it runs, a process of its own watches it (module `monitor`): in a mount namespace where its layers are mounted, so that the
//! host never sees that mount, and a killed process leaves none behind.

mod change;
mod claim;
mod commit;
mod create;
mod defaults;
mod devices;
mod ending;
mod engine;
mod files;
mod fixed;
mod health;
mod hosts;
mod ids;
mod init_layer;
mod inspect;
mod log_config;
mod logs;
mod monitor;
mod mounts;
mod pump;
mod record;
mod repair;
mod restart;
mod seccomp;
mod spec;
mod start;
mod users;
mod uses;
mod view;
mod watch_lock;

pub use claim::Claim;
pub use commit::{Commit, Differs};
pub use create::Create;
pub(crate) use defaults::PATH;
pub use devices::{HostDevice, device_rule};
pub use ending::parse_signal;
pub use engine::{Engine, Helper};
pub use health::{Health, HealthCheck, Probe};
pub use hosts::{ExtraHost, domain, hostname};
pub use ids::{INIT, new_id, now};
pub use inspect::{Empty, Inspect, RootFs, inspect};
pub use log_config::{Follow, LogConfig};
pub use logs::{Line, Stream, read as read_log};
pub use monitor::monitor;
pub(crate) use mounts::fields_of;
pub use mounts::{Wanted, clean};
pub use record::{Host, MountKind, MountPoint, Phase, Record, State};
pub use repair::check;
pub use restart::Restart;
pub use seccomp::default_profile as default_seccomp;
pub use start::{Attach, Report, Started};
pub use users::Identity;
pub use view::Rooted;
