//! `plim run`, `create`, `start`

mod limits;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Args;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use limits::{parse_sysctl, parse_ulimit};

use super::{Outcome, each, parse_bytes};
use engine::containers::{self, Attach, Claim, Engine, Host, Record, Started, Wanted};
use engine::image::Store;
use engine::network::publish::Port;
use runtime::error::{Doing, Error, Result};
use runtime::process::supervise::Signals;
use runtime::process::{pidfd, terminal};
use runtime::rootfs::resolve::read_bounded;

/// Bytes that a file of variables may have.
const LARGEST_ENV_FILE: u64 = 4 << 20;

/// Options of a new container.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Keep standard input open
    #[arg(long, short)]
    interactive: bool,
    /// Give it a terminal
    #[arg(long, short)]
    tty: bool,
    /// Remove it when it has ended, with its unnamed volumes
    #[arg(long)]
    rm: bool,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// Publish a port, or a range, on this machine: [ADDRESS:][HOST-PORT:]PORT[/udp]
    #[arg(long, short, value_name = "PORT")]
    publish: Vec<String>,
    /// Mount a volume or a directory of this machine: [NAME|/HOST/PATH:]/PATH[:ro]
    #[arg(long, short, value_name = "VOLUME")]
    volume: Vec<String>,
    /// Mount something: type=bind|volume|tmpfs,source=...,target=...[,readonly]
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,
    /// Mount memory: /PATH[:size=64m,mode=1777]
    #[arg(long, value_name = "PATH")]
    tmpfs: Vec<String>,
    /// Set a variable: NAME=VALUE, or NAME for this shell's own
    #[arg(long, short, value_name = "VARIABLE")]
    env: Vec<String>,
    /// Set the variables of a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Working directory
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// User, as USER[:GROUP] by names or numbers
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// Program instead of the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Length of a period of the CPU quota, in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "US")]
    cpu_quota: Option<i64>,
    /// CPU time as a number of CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["cpu_period", "cpu_quota"])]
    cpus: Option<f64>,
    /// Share of the CPU when others want it too; 1024 is usual
    #[arg(long, short, value_name = "SHARES")]
    cpu_shares: Option<u64>,
    /// CPUs that it may use, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes that it may use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory limit, such as 512m
    #[arg(long, short, value_name = "SIZE")]
    memory: Option<String>,
    /// Limit of memory and swap together; -1 for no limit of swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Memory that it keeps when others are short
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Most processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Reads from a device, as DEVICE:BYTES-PER-SECOND
    #[arg(long, value_name = "RATE")]
    device_read_bps: Vec<String>,
    /// Writes to a device, as DEVICE:BYTES-PER-SECOND
    #[arg(long, value_name = "RATE")]
    device_write_bps: Vec<String>,
    /// Reads from a device, as DEVICE:NUMBER-PER-SECOND
    #[arg(long, value_name = "RATE")]
    device_read_iops: Vec<String>,
    /// Writes to a device, as DEVICE:NUMBER-PER-SECOND
    #[arg(long, value_name = "RATE")]
    device_write_iops: Vec<String>,
    /// Give it a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=unconfined, seccomp=FILE
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// All rights of this machine's root
    #[arg(long)]
    privileged: bool,
    /// Its root file system cannot be written
    #[arg(long)]
    read_only: bool,
    /// bridge, none, host, container:NAME or the name of a network
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "bridge")]
    network: String,
    /// Host name
    #[arg(long, short = 'H')]
    hostname: Option<String>,
    /// One more line of /etc/hosts: NAME:ADDRESS
    #[arg(long, value_name = "LINE")]
    add_host: Vec<String>,
    /// Name server instead of this machine's
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
    /// Limit of setrlimit(2), as NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,
    /// Kernel parameter, as NAME=VALUE
    #[arg(long, value_name = "PARAMETER")]
    sysctl: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// host: see this machine's processes
    #[arg(long, value_name = "MODE")]
    pid: Option<String>,
    /// Adjustment of the OOM killer's score
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    oom_score_adj: Option<i32>,
    /// Free-form data, as KEY=VALUE
    #[arg(long, short, value_name = "LABEL")]
    label: Vec<String>,
    /// Signal that asks it to end
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u64>,
    /// Write its id to a file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// always, missing or never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: String,
    /// Name or id of the image, and a command instead of the image's; all that follows the image belongs to the command
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND]")]
    words: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    options: Options,
    /// Return once it has started, and print its id
    #[arg(long, short)]
    detach: bool,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
pub(super) struct Start {
    /// Show what it says, and pass signals on
    #[arg(long, short)]
    attach: bool,
    /// Type to it
    #[arg(long, short)]
    interactive: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Run {
    pub(super) fn run(self, engine: &Engine) -> Outcome {
        let own = |error| (error, 125);
        let remove = self.options.rm;
        let (record, claim) = self.options.create(engine).map_err(own)?;
        if self.detach {
            let started = engine.start(&record, Attach::default());
            drop(claim);
            if let Err((error, status)) = started {
                give_up(engine, &record, remove);
                return Err((error, status));
            }
            output::showln!("{}", record.id);
            return Ok(0);
        }
        let status = attached(engine, &record, claim, true);
        if status.is_err() {
            give_up(engine, &record, remove);
        }
        status
    }
}

/// A container that could not be started is kept for a look at it, unless it was to be removed.
fn give_up(engine: &Engine, record: &Record, remove: bool) {
    if remove {
        let _ = engine.remove(record, true, true);
    }
}

impl Create {
    pub(super) fn run(self, engine: &Engine) -> Outcome {
        let (record, _claim) = self.options.create(engine).map_err(|error| (error, 125))?;
        output::showln!("{}", record.id);
        Ok(0)
    }
}

impl Start {
    pub(super) fn run(self, engine: &Engine) -> Outcome {
        if self.attach || self.interactive {
            let [name] = &self.names[..] else {
                return Err((Error::new("only one container can be attached to"), 1));
            };
            let record = engine.find(name).map_err(|error| (error, 1))?;
            let claim = engine.claim(&record).map_err(|error| (error, 1))?;
            return attached(engine, &record, claim, self.interactive);
        }
        let mut status = 1;
        let started = each(&self.names, |name| {
            let record = engine.find(name)?;
            let _claim = engine.claim(&record)?;
            engine.start(&record, Attach::default()).map_err(|(error, own)| {
                // 126 and 127 say something of the program, as for `run`; 125 is that command's own.
                status = if own == 125 { 1 } else { own };
                error
            })?;
            output::showln!("{name}");
            Ok(())
        });
        started.map(|()| 0).map_err(|error| (error, status))
    }
}

/// Runs a container in the foreground.
fn attached(engine: &Engine, record: &Record, claim: Claim, input: bool) -> Outcome {
    let own = |error| (error, 125);
    let size = record.host.tty.then(|| terminal::size(std::io::stdin())).flatten();
    if record.host.tty && record.host.interactive && !std::io::stdin().is_terminal() {
        return Err(
            own(Error::new("-t needs a terminal, and standard input is none").remedy("leave -t out")),
        );
    }
    let signals = Signals::block().map_err(own)?;
    let attach = Attach { input: record.host.interactive && input, output: true, size };
    let started = engine.start(record, attach);
    // From here on its watcher keeps it.
    drop(claim);
    let started = started?;
    let raw = (record.host.tty && attach.input).then(terminal::Raw::stdin).flatten();
    let waited = follow(&started, &signals, record.host.tty);
    drop(raw);
    waited.map_err(own)?;
    let status = started.ended().map_err(own)?;
    Ok(u8::try_from(status).unwrap_or(u8::MAX))
}

/// Passes signals and the terminal's size on until the watcher has something to say.
fn follow(started: &Started, signals: &Signals, tty: bool) -> Result<()> {
    let process = pidfd::open(started.pid).ok();
    loop {
        let mut fds = [
            PollFd::new(started.control().as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.descriptor(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            ready => drop(ready.doing(|| "waiting for the container")?),
        }
        let (spoke, signalled) = (fds[0].any() == Some(true), fds[1].any() == Some(true));
        if signalled {
            for signal in signals.take() {
                match signal.number() {
                    libc::SIGCHLD | libc::SIGURG => {}
                    libc::SIGWINCH if tty => {
                        if let Some(size) = terminal::size(std::io::stdin()) {
                            started.resize(size);
                        }
                    }
                    _ => {
                        if let Some(process) = &process {
                            let _ = pidfd::signal(process.as_fd(), signal);
                        }
                    }
                }
            }
        }
        if spoke {
            return Ok(());
        }
    }
}

/// A source that begins with a dot is a path from the working directory.
fn from_here(volume: &str) -> Result<String> {
    let source = volume.split(':').next().unwrap_or_default();
    let is_path = matches!(source, "." | "..") || source.starts_with("./") || source.starts_with("../");
    if !is_path || source.len() == volume.len() {
        return Ok(volume.to_owned());
    }
    let here = std::env::current_dir().doing(|| format!("-v {volume}: finding the working directory"))?;
    let whole = containers::clean(&here.join(source));
    let text =
        whole.to_str().ok_or_else(|| Error::new(format!("-v {volume}: the path is not UTF-8 text")))?;
    if text.contains(':') {
        return Err(Error::new(format!("-v {volume}: the path {text} has a colon"))
            .remedy("use --mount type=bind,source=...,target=..."));
    }
    Ok(format!("{text}{}", &volume[source.len()..]))
}

impl Options {
    fn image(&self) -> &str {
        &self.words[0]
    }

    fn create(self, engine: &Engine) -> Result<(Record, Claim)> {
        self.fetch(engine)?;
        if let Some(path) = &self.cidfile
            && path.is_file()
        {
            return Err(Error::new(format!("--cidfile: {} exists already", path.display()))
                .remedy("remove it, if its container is gone"));
        }
        let doing = |path: &PathBuf| format!("--cidfile: writing {}", path.display());
        let cidfile = self
            .cidfile
            .clone()
            .map(|path| output::Output::open(&path).doing(|| doing(&path)).map(|file| (path, file)))
            .transpose()?;
        let (record, claim) = engine.create(self.wanted()?)?;
        if let Some((path, mut file)) = cidfile {
            let written = file.write_all(record.id.as_bytes());
            written.and_then(|()| file.finish()).doing(|| doing(&path))?;
        }
        Ok((record, claim))
    }

    /// An image that is not here is fetched from its registry.
    fn fetch(&self, engine: &Engine) -> Result<()> {
        let is_here = engine.store.find(self.image()).is_ok();
        match self.pull.as_str() {
            "never" => Ok(()),
            "missing" if is_here => Ok(()),
            "missing" | "always" => pull(&engine.store, self.image()),
            other => Err(Error::new(format!("--pull {other}: it is always, missing or never"))),
        }
    }

    fn wanted(self) -> Result<containers::Create> {
        let host = self.host()?;
        let (image, command) = (self.image().to_owned(), self.words[1..].to_vec());
        let mut mounts = Vec::new();
        for text in &self.volume {
            mounts.push(Wanted::from_volume(&from_here(text)?)?);
        }
        for text in &self.mount {
            mounts.push(Wanted::from_mount(text)?);
        }
        for text in &self.tmpfs {
            mounts.push(Wanted::from_tmpfs(text)?);
        }
        let mut env = Vec::new();
        for path in &self.env_file {
            let doing = || format!("--env-file: reading {}", path.display());
            let file = std::fs::File::open(path).doing(doing)?;
            let text = read_bounded(file, LARGEST_ENV_FILE)
                .map_err(|error| Error::new(format!("{}: {error}", doing())))?;
            let text = String::from_utf8(text)
                .map_err(|_| Error::new(format!("{}: it is not UTF-8 text", doing())))?;
            let lines =
                text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
            env.extend(lines.map(str::to_owned));
        }
        env.extend(self.env);
        Ok(containers::Create {
            image,
            command,
            entrypoint: self
                .entrypoint
                .map(|program| if program.is_empty() { Vec::new() } else { vec![program] }),
            name: self.name,
            env,
            user: self.user,
            workdir: self.workdir,
            labels: self.label,
            stop_signal: self.stop_signal,
            mounts,
            host,
            build: false,
        })
    }

    fn host(&self) -> Result<Host> {
        let mut no_new_privileges = false;
        let mut seccomp = None;
        for option in &self.security_opt {
            match option.split_once(['=', ':']).unwrap_or((option, "")) {
                ("no-new-privileges", "" | "true") => no_new_privileges = true,
                ("no-new-privileges", "false") => no_new_privileges = false,
                ("seccomp", profile) if !profile.is_empty() => seccomp = Some(profile.to_owned()),
                ("label", _) => {}
                ("apparmor", "unconfined") => {}
                _ => {
                    return Err(Error::new(format!("--security-opt {option} is unknown"))
                        .remedy("no-new-privileges, seccomp=unconfined and seccomp=FILE are known"));
                }
            }
        }
        let pid_host = match self.pid.as_deref() {
            None | Some("" | "private") => false,
            Some("host") => true,
            Some(other) => {
                return Err(Error::new(format!("--pid {other} is unknown")).remedy("host is known"));
            }
        };
        let ports = self.publish.iter().map(|text| Port::parse(text)).collect::<Result<Vec<_>>>()?.concat();
        let own_network =
            !matches!(self.network.as_str(), "none" | "host") && !self.network.starts_with("container:");
        if !ports.is_empty() && !own_network {
            return Err(Error::new(format!(
                "-p needs a network of the container's own, and --network is {}",
                self.network
            )));
        }
        let sysctls: BTreeMap<String, String> =
            self.sysctl.iter().map(|text| parse_sysctl(text)).collect::<Result<_>>()?;
        Ok(Host {
            hostname: self.hostname.as_deref().map(containers::hostname).transpose()?,
            tty: self.tty,
            interactive: self.interactive,
            auto_remove: self.rm,
            resources: self.resources()?,
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            privileged: self.privileged,
            no_new_privileges,
            seccomp,
            read_only: self.read_only,
            network: if self.network == "default" { "bridge".to_owned() } else { self.network.clone() },
            ports,
            ulimits: self.ulimit.iter().map(|text| parse_ulimit(text)).collect::<Result<_>>()?,
            sysctls,
            shm_size: self.shm_size.as_deref().map(parse_bytes).transpose()?,
            pid_host,
            oom_score_adj: self.oom_score_adj,
            extra_hosts: self.add_host.iter().map(|text| text.parse()).collect::<Result<_>>()?,
            dns: self.dns.iter().map(|text| name_server(text)).collect::<Result<_>>()?,
            stop_timeout: self.stop_timeout,
            cidfile: self.cidfile.clone(),
        })
    }
}

fn name_server(text: &str) -> Result<std::net::IpAddr> {
    text.parse().map_err(|_| Error::new(format!("--dns '{text}': it is no IP address")))
}

#[cfg(feature = "registry")]
fn pull(store: &Store, image: &str) -> Result<()> {
    let name: engine::image::Reference = image.parse()?;
    let mut registry =
        engine::image::registry::Registry::open(&name.registry, &engine::image::registry::Access::default())?;
    registry.pull(store, &name, &super::progress::Progress::new(false)).map(drop)
}

#[cfg(not(feature = "registry"))]
fn pull(store: &Store, image: &str) -> Result<()> {
    store.find(image).map(drop)
}
