//! Options of a new container.

use std::path::PathBuf;

use clap::Args;

/// Options of a new container.
#[derive(Debug, Args)]
pub(crate) struct Options {
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
    /// Length of a period of the CPU quota, in microseconds
    #[arg(long, value_name = "US")]
    pub(super) cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "US")]
    pub(super) cpu_quota: Option<i64>,
    /// CPU time as a number of CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["cpu_period", "cpu_quota"])]
    pub(super) cpus: Option<f64>,
    /// Share of the CPU when others want it too; 1024 is usual
    #[arg(long, short, value_name = "SHARES")]
    pub(super) cpu_shares: Option<u64>,
    /// CPUs that it may use, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes that it may use
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_mems: Option<String>,
    /// Memory limit, such as 512m
    #[arg(long, short, value_name = "SIZE")]
    pub(super) memory: Option<String>,
    /// Limit of memory and swap together; -1 for no limit of swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(super) memory_swap: Option<String>,
    /// Memory that it keeps when others are short
    #[arg(long, value_name = "SIZE")]
    pub(super) memory_reservation: Option<String>,
    /// Most processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(super) pids_limit: Option<i64>,
    /// Reads from a device, as DEVICE:BYTES-PER-SECOND
    #[arg(long, value_name = "RATE")]
    pub(super) device_read_bps: Vec<String>,
    /// Writes to a device, as DEVICE:BYTES-PER-SECOND
    #[arg(long, value_name = "RATE")]
    pub(super) device_write_bps: Vec<String>,
    /// Reads from a device, as DEVICE:NUMBER-PER-SECOND
    #[arg(long, value_name = "RATE")]
    pub(super) device_read_iops: Vec<String>,
    /// Writes to a device, as DEVICE:NUMBER-PER-SECOND
    #[arg(long, value_name = "RATE")]
    pub(super) device_write_iops: Vec<String>,
    /// Give it a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(super) cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(super) cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=unconfined, seccomp=FILE
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
    /// Host name
    #[arg(long, short = 'H')]
    pub(super) hostname: Option<String>,
    /// One more line of /etc/hosts: NAME:ADDRESS
    #[arg(long, value_name = "LINE")]
    pub(super) add_host: Vec<String>,
    /// Name server instead of this machine's
    #[arg(long, value_name = "ADDRESS")]
    pub(super) dns: Vec<String>,
    /// Limit of setrlimit(2), as NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    pub(super) ulimit: Vec<String>,
    /// Kernel parameter, as NAME=VALUE
    #[arg(long, value_name = "PARAMETER")]
    pub(super) sysctl: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub(super) shm_size: Option<String>,
    /// host: see this machine's processes
    #[arg(long, value_name = "MODE")]
    pub(super) pid: Option<String>,
    /// Adjustment of the OOM killer's score
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    pub(super) oom_score_adj: Option<i32>,
    /// Free-form data, as KEY=VALUE
    #[arg(long, short, value_name = "LABEL")]
    pub(super) label: Vec<String>,
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
