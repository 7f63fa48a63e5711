//! The parts of a snapshot that no other request answers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{getpgrp, getpid, getppid, getsid};
use serde::{Deserialize, Serialize};

use crate::ask::Act;
use crate::bare::{self, Called, Way};
use crate::failure::{Doing, Done, Failure};
use crate::verbs::state::{self, Kind};

/// The most nodes of /dev that are told: more are the host's.
const MOST_NODES: usize = 200;

/// How deep /dev is looked at.
const DEEPEST: usize = 3;

/// Devices that may be opened without a consequence.
const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"];

/// Kernel parameters of namespaces.
const SYSCTLS: [&str; 14] = [
    "net.ipv4.ip_forward",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_keepalive_time",
    "net.core.somaxconn",
    "net.ipv6.conf.all.disable_ipv6",
    "kernel.shmmax",
    "kernel.shmall",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "fs.mqueue.msg_max",
    "kernel.domainname",
];

/// Lines of /proc/self/status that a configuration decides.
const STATUS: [&str; 15] = [
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "Umask",
    "Cpus_allowed_list",
    "Mems_allowed_list",
    "THP_enabled",
];

/// What prctl(2) and the session say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Whether this process leads its session.
    pub session: bool,
    /// Whether it leads its process group.
    pub group: bool,
    /// Whether its parent is in another PID namespace, or there is none.
    pub orphan: bool,
    /// `PR_GET_DUMPABLE`
    pub dumpable: bool,
    /// `PR_GET_PDEATHSIG`: the signal's number, 0 for none.
    pub death_signal: i32,
    /// `PR_GET_SECUREBITS`
    pub secure_bits: i32,
    /// `PR_GET_CHILD_SUBREAPER`
    pub subreaper: bool,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its kind.
    pub kind: Kind,
    /// Its permissions, in octal.
    pub mode: String,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Where a link points to.
    pub target: Option<PathBuf>,
}

/// What stands at a path, and what can be done with it. Error numbers are 0 for success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// What stands there; nothing if nothing can be seen.
    pub node: Option<Node>,
    /// Whether there is something to read: `empty`, `something`, or an error number.
    pub read: String,
    /// What came of opening it for writing, or of making a file in it.
    pub write: i32,
}

/// The text of a file, without spaces at its ends.
pub(crate) fn text(path: &str) -> Done<String> {
    Ok(fs::read_to_string(path).doing(path)?.trim().to_owned())
}

/// Lines of /proc/self/status.
pub(crate) fn status() -> Done<BTreeMap<String, String>> {
    let text = text("/proc/self/status")?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let wanted = lines.filter(|(name, _)| STATUS.contains(name));
    Ok(wanted.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

/// What prctl(2) and the session say.
pub(crate) fn credentials() -> Done<Credentials> {
    // SAFETY: this number only asks, and takes no pointer.
    let secure_bits = Errno::result(unsafe { libc::prctl(libc::PR_GET_SECUREBITS) }).doing("securebits")?;
    Ok(Credentials {
        session: getsid(None).doing("getsid")? == getpid(),
        group: getpgrp() == getpid(),
        orphan: getppid().as_raw() == 0,
        dumpable: prctl::get_dumpable().doing("PR_GET_DUMPABLE")?,
        death_signal: prctl::get_pdeathsig().doing("PR_GET_PDEATHSIG")?.map_or(0, |signal| signal as i32),
        secure_bits,
        subreaper: prctl::get_child_subreaper().doing("PR_GET_CHILD_SUBREAPER")?,
    })
}

/// All limits of getrlimit(2).
pub(crate) fn rlimits() -> Done<BTreeMap<String, (u64, u64)>> {
    use nix::sys::resource::{Resource as R, getrlimit};
    const ALL: [R; 16] = [
        R::RLIMIT_AS,
        R::RLIMIT_CORE,
        R::RLIMIT_CPU,
        R::RLIMIT_DATA,
        R::RLIMIT_FSIZE,
        R::RLIMIT_LOCKS,
        R::RLIMIT_MEMLOCK,
        R::RLIMIT_MSGQUEUE,
        R::RLIMIT_NICE,
        R::RLIMIT_NOFILE,
        R::RLIMIT_NPROC,
        R::RLIMIT_RSS,
        R::RLIMIT_RTPRIO,
        R::RLIMIT_RTTIME,
        R::RLIMIT_SIGPENDING,
        R::RLIMIT_STACK,
    ];
    ALL.into_iter().map(|limit| Ok((format!("{limit:?}"), getrlimit(limit).doing("getrlimit")?))).collect()
}

/// What each open descriptor is.
pub(crate) fn descriptors() -> Done<BTreeMap<i32, String>> {
    let open = state::descriptors().act()?;
    let named = open.into_iter().map(|number| {
        let target = fs::read_link(format!("/proc/self/fd/{number}")).doing("reading a descriptor's link")?;
        let target = target.display().to_string();
        // `pipe:[4711]`: the number is another one each time.
        let kind = target.split_once(":[").map_or(target.as_str(), |(kind, _)| kind).to_owned();
        Ok((number, kind))
    });
    named.collect()
}

/// The session keyring, as KEYCTL_DESCRIBE tells it. Source: keyctl_describe(3).
pub(crate) fn keyring() -> Done<String> {
    const DESCRIBE: libc::c_long = 6;
    const SESSION: libc::c_long = -3;
    let mut told = [0_u8; 256];
    // SAFETY: the kernel writes no more than the length that it is given.
    let length = unsafe { libc::syscall(libc::SYS_keyctl, DESCRIBE, SESSION, told.as_mut_ptr(), told.len()) };
    let length = usize::try_from(Errno::result(length).doing("keyctl")?).doing("keyctl")?;
    let told = told.get(..length.saturating_sub(1)).ok_or_else(|| Failure::new("keyctl: a long name"))?;
    Ok(String::from_utf8_lossy(told).into_owned())
}

/// What stands in /dev.
pub(crate) fn devices() -> Done<BTreeMap<String, Node>> {
    let mut found = BTreeMap::new();
    below(Path::new("/dev"), DEEPEST, &mut found)?;
    Ok(found)
}

fn below(dir: &Path, deep: usize, found: &mut BTreeMap<String, Node>) -> Done<()> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).doing(dir.display())?.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    for path in paths {
        if found.len() >= MOST_NODES {
            return Ok(());
        }
        let Some(node) = node(&path.display().to_string()) else { continue };
        let is_directory = node.kind == Kind::Directory;
        found.insert(path.display().to_string(), node);
        if is_directory && deep > 1 {
            below(&path, deep - 1, found)?;
        }
    }
    Ok(())
}

fn node(path: &str) -> Option<Node> {
    let of = state::stat(path).act().ok()?;
    let device = matches!(of.kind, Kind::Char | Kind::Block).then_some(of.device);
    let mode = format!("{:04o}", of.mode);
    Some(Node { kind: of.kind, mode, uid: of.uid, gid: of.gid, device, target: of.target })
}

/// Opens well-known devices for reading and writing.
pub(crate) fn opened() -> BTreeMap<String, i32> {
    let open = |path: &str| {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        number(fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path))
    };
    DEVICES.iter().map(|path| ((*path).to_owned(), open(path))).collect()
}

fn number<T>(done: std::io::Result<T>) -> i32 {
    done.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

/// Looks at a path, and tries to read and to write there. Nothing is changed.
pub(crate) fn sight(path: &str) -> Sight {
    let node = node(path);
    let told = |length: usize| if length == 0 { "empty".to_owned() } else { "something".to_owned() };
    let failed = |error: &std::io::Error| error.raw_os_error().unwrap_or(-1).to_string();
    if fs::metadata(path).is_ok_and(|of| of.is_dir()) {
        let read = fs::read_dir(path).map_or_else(|error| failed(&error), |entries| told(entries.count()));
        return Sight { node, read, write: number(in_directory(path)) };
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = fs::OpenOptions::new();
    options.custom_flags(flags);
    let mut first = [0; 16];
    let read = options.clone().read(true).open(path).and_then(|mut file| file.read(&mut first));
    let read = read.map_or_else(|error| failed(&error), told);
    Sight { node, read, write: number(options.write(true).open(path)) }
}

/// Makes a file in a directory and removes it.
fn in_directory(path: &str) -> std::io::Result<()> {
    let path = Path::new(path).join(".plimsoll-snapshot");
    fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(path)
}

/// Kernel parameters of namespaces.
pub(crate) fn sysctls() -> BTreeMap<String, Done<String>> {
    let read = |name: &str| text(&format!("/proc/sys/{}", name.replace('.', "/")));
    SYSCTLS.iter().map(|name| ((*name).to_owned(), read(name))).collect()
}

/// What the filters of this process say to calls by the native table, and to a harmless one by the others.
pub(crate) fn calls() -> BTreeMap<String, String> {
    let native: [(&str, i64, u64); 13] = [
        ("getpid", libc::SYS_getpid, 0),
        ("getppid", libc::SYS_getppid, 0),
        ("mkdirat", libc::SYS_mkdirat, 0),
        ("fchmodat", libc::SYS_fchmodat, 0),
        ("ptrace", libc::SYS_ptrace, 0),
        ("mount", libc::SYS_mount, 0),
        ("sethostname", libc::SYS_sethostname, 0),
        ("keyctl", libc::SYS_keyctl, 0),
        ("personality", libc::SYS_personality, 0),
        ("personality 8", libc::SYS_personality, 8),
        ("socket 2", libc::SYS_socket, 2),
        ("socket 16", libc::SYS_socket, 16),
        ("socket 40", libc::SYS_socket, 40),
    ];
    let mut found: BTreeMap<String, String> = native
        .into_iter()
        .map(|(name, number, first)| {
            let said = u32::try_from(number).doing("number").and_then(|number| bare::filtered(number, first));
            // A filter that kills leaves no answer.
            (name.to_owned(), said.map_or_else(|_| "none".to_owned(), |error| error.to_string()))
        })
        .collect();
    // getpid by the tables of i386 and x32.
    for (name, way, number) in [("int80 getpid", Way::Int80, 20), ("x32 getpid", Way::X32, 39)] {
        let said = match bare::call(way, number, &[]) {
            Ok(Called::Error(error)) => error.to_string(),
            Ok(Called::Signal(signal)) => format!("signal {signal}"),
            Err(failure) => failure.to_string(),
        };
        found.insert(name.to_owned(), said);
    }
    found
}
