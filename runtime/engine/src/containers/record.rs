//! What is known of a container on disk.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::devices::HostDevice;
use super::hosts::ExtraHost;
use super::log_config::LogConfig;
use super::restart::Restart;
use crate::image::{Digest, Execution};
use crate::network::publish::Port;
use runtime::error::Result;
use runtime::oci::{Resources, Rlimit};

/// What was asked for, written once when the container is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, which no other container has.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// The image's name, as the user gave it.
    pub image: String,
    /// The image's id.
    pub image_id: Digest,
    /// The image's manifest.
    pub manifest: Digest,
    /// The image's layers when unpacked, the lowest first.
    pub layers: Vec<Digest>,
    /// How it is started: the image's configuration, with the user's changes.
    pub config: Execution,
    /// What the host gives it.
    pub host: Host,
    /// Volumes and other mounts, sorted so that parents come first.
    pub mounts: Vec<MountPoint>,
    /// A step of a build, which no list shows.
    #[serde(default)]
    pub build: bool,
}

impl Record {
    /// The ports that it exposes, each to be published on any port that is free.
    ///
    /// # Errors
    /// The image exposes something that is no port.
    pub(super) fn exposed(&self) -> Result<Vec<Port>> {
        let asked = |port: &Port| {
            self.host
                .ports
                .iter()
                .any(|known| (known.container, known.protocol) == (port.container, port.protocol))
        };
        let all = self.config.exposed_ports.keys().map(|text| Port::parse(text));
        Ok(all.collect::<Result<Vec<_>>>()?.concat().into_iter().filter(|port| !asked(port)).collect())
    }
}

/// What the host gives a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Host {
    /// Its own host name; absent means the first digits of its id.
    pub hostname: Option<String>,
    /// It has a terminal.
    pub tty: bool,
    /// Its standard input stays open.
    pub interactive: bool,
    /// It is removed when it has ended.
    pub auto_remove: bool,
    /// Limits.
    pub resources: Resources,
    /// Capabilities beside the default ones.
    pub cap_add: Vec<String>,
    /// Capabilities that it does not get.
    pub cap_drop: Vec<String>,
    /// All rights of the host's root.
    pub privileged: bool,
    /// execve(2) grants nothing.
    pub no_new_privileges: bool,
    /// A seccomp profile, `unconfined`, or the default one.
    pub seccomp: Option<String>,
    /// Its root file system cannot be written.
    pub read_only: bool,
    /// `bridge`, `none`, `host`, `container:ID` or a network's name.
    pub network: String,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Limits of setrlimit(2).
    pub ulimits: Vec<Rlimit>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// It sees the host's processes.
    pub pid_host: bool,
    /// It sees the processes of another container.
    pub pid_of: Option<String>,
    /// It shares System V IPC, message queues and /dev/shm with the host.
    pub ipc_host: bool,
    /// It has the host's name.
    pub uts_host: bool,
    /// It sees the host's control groups.
    pub cgroupns_host: bool,
    /// Its control group is made in this one.
    pub cgroup_parent: Option<String>,
    /// Its first process is the engine's, which starts the program and reaps what is left to it.
    pub init: bool,
    /// Devices of the host.
    pub devices: Vec<HostDevice>,
    /// Further groups, by names or numbers.
    pub group_add: Vec<String>,
    /// Containers whose mounts it has, too; with `:ro` or `:rw`.
    pub volumes_from: Vec<String>,
    /// Every port that the image exposes is published.
    pub publish_all: bool,
    /// Further names on its network.
    pub aliases: Vec<String>,
    /// Its address on its network, if it is to have one in particular.
    pub fixed_address: Option<Ipv4Addr>,
    /// Domain of its host name.
    pub domainname: Option<String>,
    /// What happens when it has ended.
    pub restart: Restart,
    /// How its output is kept.
    pub log: LogConfig,
    /// Domains in which its names are looked up.
    pub dns_search: Vec<String>,
    /// Options of its resolver.
    pub dns_options: Vec<String>,
    /// No path of /proc and /sys is masked or read-only.
    pub system_paths_unconfined: bool,
    /// `--cpus` in billionths of a CPU; 0 if it was not given.
    pub nano_cpus: u64,
    /// Limit of memory and swap together, as asked for; it cannot be set everywhere.
    pub memory_swap: Option<i64>,
    /// `--tmpfs` as it was given: options by path.
    pub tmpfs: BTreeMap<String, String>,
    /// The client was attached from the start.
    pub attached: bool,
    /// `-v` and `--security-opt`, as they were given.
    pub binds: Vec<String>,
    /// Likewise.
    pub security_opt: Vec<String>,
    /// Adjustment of the OOM killer's score.
    pub oom_score_adj: Option<i32>,
    /// More lines of /etc/hosts, as NAME:ADDRESS.
    pub extra_hosts: Vec<ExtraHost>,
    /// Name servers instead of the host's.
    pub dns: Vec<IpAddr>,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_timeout: Option<u64>,
    /// Where the container's id was written at the user's wish.
    pub cidfile: Option<PathBuf>,
}

/// Kinds of mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountPoint {
    /// Kind.
    #[serde(rename = "Type")]
    pub kind: MountKind,
    /// The volume's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Path on the host; empty for memory.
    pub source: PathBuf,
    /// Path in the container.
    pub destination: PathBuf,
    /// It can be written.
    #[serde(rename = "RW")]
    pub writable: bool,
    /// mount(8) options beside those.
    #[serde(default)]
    pub options: Vec<String>,
    /// A volume made for this container alone.
    #[serde(default)]
    pub anonymous: bool,
    /// The volume is not to be filled from the image.
    #[serde(default)]
    pub no_copy: bool,
    /// The source is a path inside of this directory, and is looked up there when the container starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<PathBuf>,
}

/// State of a container, written by the process that watches it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Host PID of the first process; 0 while none runs.
    pub pid: i32,
    /// RFC 3339.
    pub started: Option<String>,
    /// RFC 3339.
    pub finished: Option<String>,
    /// Exit status of the last run.
    pub exit_code: Option<i32>,
    /// The OOM killer ended a process of the last run.
    pub oom_killed: bool,
    /// Why it could not be started.
    pub error: Option<String>,
    /// Address in its network.
    pub address: Option<Ipv4Addr>,
    /// The host's end of its network device.
    pub device: Option<String>,
    /// Published ports, with the host's part known.
    pub ports: Vec<Port>,
    /// The container has ended, and is about to be started again.
    pub restarting: bool,
    /// How often its policy has started it again since somebody did.
    pub restarts: u32,
}

/// State of a container, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Never started.
    Created,
    /// Its first process lives.
    Running,
    /// All its processes are frozen.
    Paused,
    /// It has ended and is about to be started again.
    Restarting,
    /// It has ended.
    Exited,
    /// Its watcher was killed: what is left of it waits for `plim system check`.
    Dead,
}

impl Phase {
    /// Whether it has a process, or is about to have one again.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        })
    }
}
