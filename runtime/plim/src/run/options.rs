//! Options of a new container.

use std::path::PathBuf;

use clap::Args;

use super::health::HealthOptions;
use super::limits::Limits;
use engine::containers::Restart;

/// Options of a new container.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub(super) help: Option<bool>,
    /// Keep standard input open
    #[arg(long, short)]
    pub(super) interactive: bool,
    /// Give it a terminal
    #[arg(long, short)]
    pub(super) tty: bool,
    /// Remove it when it has ended, with its unnamed volumes
    #[arg(long)]
    pub(super) rm: bool,
    /// Its name
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Publish a port, or a range, on this machine: [ADDRESS:][HOST-PORT:]PORT[/udp]
    #[arg(long, short, value_name = "PORT")]
    pub(super) publish: Vec<String>,
    /// Mount a volume or a directory of this machine: [NAME|/HOST/PATH:]/PATH[:ro]
    #[arg(long, short, value_name = "VOLUME")]
    pub(super) volume: Vec<String>,
    /// Mount something: type=bind|volume|tmpfs,source=...,target=...[,readonly]
    #[arg(long, value_name = "MOUNT")]
    pub(super) mount: Vec<String>,
    /// Mount memory: /PATH[:size=64m,mode=1777]
    #[arg(long, value_name = "PATH")]
    pub(super) tmpfs: Vec<String>,
    /// Set a variable: NAME=VALUE, or NAME for this shell's own
    #[arg(long, short, value_name = "VARIABLE")]
    pub(super) env: Vec<String>,
    /// Set the variables of a file
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Vec<PathBuf>,
    /// Working directory
    #[arg(long, short, value_name = "DIR")]
    pub(super) workdir: Option<String>,
    /// User, as USER[:GROUP] by names or numbers
    #[arg(long, short, value_name = "USER")]
    pub(super) user: Option<String>,
    /// Program instead of the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    pub(super) entrypoint: Option<String>,
    /// Give it a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(super) cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(super) cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=unconfined, seccomp=FILE, systempaths=unconfined
    #[arg(long, value_name = "OPTION")]
    pub(super) security_opt: Vec<String>,
    /// All rights of this machine's root
    #[arg(long)]
    pub(super) privileged: bool,
    /// Its root file system cannot be written
    #[arg(long)]
    pub(super) read_only: bool,
    /// bridge, none, host, container:NAME or the name of a network
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "bridge")]
    pub(super) network: String,
    /// A further name on its network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    pub(super) network_alias: Vec<String>,
    /// Its address on its network
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip: Option<std::net::Ipv4Addr>,
    /// Host name
    #[arg(long, short = 'h')]
    pub(super) hostname: Option<String>,
    /// Domain of the host name
    #[arg(long, value_name = "DOMAIN")]
    pub(super) domainname: Option<String>,
    /// One more line of /etc/hosts: NAME:ADDRESS
    #[arg(long, value_name = "LINE")]
    pub(super) add_host: Vec<String>,
    /// Domain in which names are looked up
    #[arg(long, value_name = "DOMAIN")]
    pub(super) dns_search: Vec<String>,
    /// Option of its resolver, see resolv.conf(5)
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub(super) dns_option: Vec<String>,
    /// Name server instead of this machine's
    #[arg(long, value_name = "ADDRESS")]
    pub(super) dns: Vec<String>,
    /// Kernel parameter, as NAME=VALUE
    #[arg(long, value_name = "PARAMETER")]
    pub(super) sysctl: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub(super) shm_size: Option<String>,
    /// host: see this machine's processes; container:NAME: those of another container
    #[arg(long, value_name = "MODE")]
    pub(super) pid: Option<String>,
    /// host: share System V IPC, message queues and /dev/shm with this machine; private is usual
    #[arg(long, value_name = "MODE")]
    pub(super) ipc: Option<String>,
    /// host: have this machine's name
    #[arg(long, value_name = "MODE")]
    pub(super) uts: Option<String>,
    /// host: user ids are this machine's, as they are anyway
    #[arg(long, value_name = "MODE")]
    pub(super) userns: Option<String>,
    /// host or private
    #[arg(long, value_name = "MODE")]
    pub(super) cgroupns: Option<String>,
    /// Control group in which its own is made
    #[arg(long, value_name = "PATH")]
    pub(super) cgroup_parent: Option<String>,
    /// Have a first process that passes signals on and reaps what is left to it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) init: Option<bool>,
    /// Give it a device of this machine: /dev/HOST[:/dev/CONTAINER][:rwm]
    #[arg(long, value_name = "DEVICE")]
    pub(super) device: Vec<String>,
    /// A further group, by name or number
    #[arg(long, value_name = "GROUP")]
    pub(super) group_add: Vec<String>,
    /// Mount what another container has: CONTAINER[:ro]
    #[arg(long, value_name = "CONTAINER")]
    pub(super) volumes_from: Vec<String>,
    /// Publish all ports that the image exposes, each on a port of this machine that is free
    #[arg(long, short = 'P')]
    pub(super) publish_all: bool,
    /// Expose a port, or a range, without publishing it
    #[arg(long, value_name = "PORT")]
    pub(super) expose: Vec<String>,
    /// What happens when it has ended: no, on-failure[:NUMBER], always or unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub(super) restart: Restart,
    /// How its output is kept: json-file or none
    #[arg(long, value_name = "DRIVER", default_value = "json-file")]
    pub(super) log_driver: String,
    /// max-size=SIZE, max-file=NUMBER
    #[arg(long, value_name = "OPTION")]
    pub(super) log_opt: Vec<String>,
    #[command(flatten)]
    pub(super) limits: Limits,
    #[command(flatten)]
    pub(super) health: HealthOptions,
    /// linux, or linux with this machine's architecture
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
    /// Images are not signed: true is all that can be had
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) disable_content_trust: Option<bool>,
    /// Say nothing while the image is pulled
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Adjustment of the OOM killer's score
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    pub(super) oom_score_adj: Option<i32>,
    /// Free-form data, as KEY=VALUE
    #[arg(long, short, value_name = "LABEL")]
    pub(super) label: Vec<String>,
    /// Set the labels of a file
    #[arg(long, value_name = "FILE")]
    pub(super) label_file: Vec<PathBuf>,
    /// Signal that asks it to end
    #[arg(long, value_name = "SIGNAL")]
    pub(super) stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL
    #[arg(long, value_name = "SECONDS")]
    pub(super) stop_timeout: Option<u64>,
    /// Write its id to a file
    #[arg(long, value_name = "FILE")]
    pub(super) cidfile: Option<PathBuf>,
    /// always, missing or never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(super) pull: String,
    /// Name or id of the image, and a command instead of the image's; all that follows the image belongs to the command
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND]")]
    pub(super) words: Vec<String>,
}
