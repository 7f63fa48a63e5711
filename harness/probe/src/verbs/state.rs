//! What this process is: identity, variables, descriptors, terminal, clocks, resource use; and what is at a path.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{IsTerminal, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::stat::{Mode, umask};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, getegid, geteuid, getgid, getgroups, getuid};
use serde::{Deserialize, Serialize};

use crate::ask::{Act, verbs};
use crate::failure::{Doing, Done, Failure};

verbs! {
    /// What this process is.
    State {
        /// All that `process` of a configuration asks for. Words after it are passed over, and told among the arguments.
        "process" process: GetProcess { more: Vec<String> } -> Process;
        /// A variable of the environment; nothing if it is not set.
        "env" env: Env { name: String } -> Option<String>;
        /// The words that come after it.
        "arguments" arguments: Arguments { words: Vec<String> } -> Vec<String>;
        /// The numbers of this process's open descriptors.
        "descriptors" descriptors: Descriptors {} -> Vec<i32>;
        /// What is at a path; symbolic links are not followed.
        "stat" stat: Stat { path: String } -> Status;
        /// The names in a directory, sorted.
        "list" list: List { path: String } -> Vec<String>;
        /// The mount at a path, as mountinfo has it.
        "mount-options" mount_options: GetMountOptions { path: String } -> MountOptions;
        /// The clocks.
        "clocks" clocks: GetClocks {} -> Clocks;
        /// CPU time of this process and of its children that have ended, in nanoseconds.
        "rusage" rusage: Rusage {} -> u64;
        /// What the standard streams are.
        "terminal" terminal: GetTerminal {} -> Terminal;
        /// Opens a multiplexer such as /dev/ptmx and keeps it open; the entries of /dev/pts then.
        "open-terminal" open_terminal: OpenTerminal { path: String } -> NewTerminal;
        /// Reads standard input to its end, and says how much there was.
        "count-stdin" count_stdin: CountStdin {} -> Counted;
        /// Runs a program, and returns what it wrote and how it ended.
        "run" run: Run { program: String, arguments: Vec<String> } -> Ran;
    }
}

/// A process, as its configuration should have made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Working directory.
    pub cwd: PathBuf,
    /// Arguments, its own name first.
    pub args: Vec<String>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Real user.
    pub uid: u32,
    /// Effective user.
    pub euid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective group.
    pub egid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// RLIMIT_NOFILE: the soft and the hard limit.
    pub nofile: (u64, u64),
    /// oom_score_adj(5)
    pub oom_score_adj: i32,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its kind.
    pub kind: Kind,
    /// Its permissions with the set-id and sticky bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Major and minor number, if it is a device.
    pub device: (u32, u32),
    /// The device that it lies on.
    pub on: u64,
    /// Its inode.
    pub inode: u64,
    /// Where it points to, if it is a link.
    pub target: Option<PathBuf>,
    /// When it was last read: seconds and nanoseconds.
    pub accessed: (i64, i64),
}

/// A mount, as mountinfo has it. Source: proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOptions {
    /// Type of the file system.
    #[serde(rename = "type")]
    pub kind: String,
    /// Options of the mount.
    pub options: String,
    /// Options of the file system.
    #[serde(rename = "super")]
    pub filesystem: String,
    /// Optional fields, such as `shared:1`.
    pub optional: Vec<String>,
}

/// Clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC`
    pub monotonic: u64,
    /// `CLOCK_BOOTTIME`
    pub boottime: u64,
    /// `CLOCK_REALTIME`
    pub realtime: u64,
}

/// What the standard streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Whether standard input and output are a terminal.
    pub terminal: bool,
    /// Its rows.
    pub rows: Option<u16>,
    /// Its columns.
    pub columns: Option<u16>,
    /// Whether /dev/tty can be opened.
    pub controls: bool,
    /// Whether this process leads its session.
    pub session: bool,
}

/// A terminal that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTerminal {
    /// Its number, as its multiplexer says.
    pub number: u32,
    /// The names in /dev/pts, sorted.
    pub names: Vec<String>,
    /// The permissions of /dev/pts/NUMBER.
    pub mode: u32,
    /// Its group.
    pub gid: u32,
}

/// What came by standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many bytes.
    pub bytes: usize,
    /// Their sum.
    pub sum: u64,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Its exit status; nothing if a signal ended it.
    pub status: Option<i32>,
    /// Its standard output, without spaces at the ends.
    pub out: String,
}

impl Act for GetProcess {
    fn act(self) -> Done<Process> {
        let mask = umask(Mode::empty());
        umask(mask);
        let score = fs::read_to_string("/proc/self/oom_score_adj").doing("oom_score_adj")?;
        Ok(Process {
            cwd: std::env::current_dir().doing("getcwd")?,
            args: std::env::args().collect(),
            env: std::env::vars().collect(),
            uid: getuid().as_raw(),
            euid: geteuid().as_raw(),
            gid: getgid().as_raw(),
            egid: getegid().as_raw(),
            groups: getgroups().doing("getgroups")?.into_iter().map(Gid::as_raw).collect(),
            umask: mask.bits(),
            nofile: getrlimit(Resource::RLIMIT_NOFILE).doing("getrlimit")?,
            oom_score_adj: score.trim().parse().doing("oom_score_adj")?,
        })
    }
}

impl Act for Env {
    fn act(self) -> Done<Option<String>> {
        match std::env::var(&self.name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(error).doing(self.name),
        }
    }
}

impl Act for Arguments {
    fn act(self) -> Done<Vec<String>> {
        Ok(self.words)
    }
}

impl Act for Descriptors {
    fn act(self) -> Done<Vec<i32>> {
        let listing = fs::read_dir("/proc/self/fd").doing("reading /proc/self/fd")?;
        let open: Vec<i32> =
            listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        // The listing's own descriptor is closed by now.
        let is_open = |fd: &i32| {
            // SAFETY: F_GETFD takes no argument.
            unsafe { libc::fcntl(*fd, libc::F_GETFD) >= 0 }
        };
        Ok(open.into_iter().filter(is_open).collect())
    }
}

impl Act for Stat {
    fn act(self) -> Done<Status> {
        let of = fs::symlink_metadata(&self.path).doing(&self.path)?;
        let kind = match of.file_type() {
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_file() => Kind::File,
            kind if kind.is_symlink() => Kind::Link,
            kind if kind.is_char_device() => Kind::Char,
            kind if kind.is_block_device() => Kind::Block,
            kind if kind.is_fifo() => Kind::Fifo,
            _ => Kind::Socket,
        };
        let target = match kind {
            Kind::Link => Some(fs::read_link(&self.path).doing(&self.path)?),
            _ => None,
        };
        Ok(Status {
            kind,
            mode: of.mode() & 0o7777,
            uid: of.uid(),
            gid: of.gid(),
            size: of.size(),
            device: (libc::major(of.rdev()), libc::minor(of.rdev())),
            on: of.dev(),
            inode: of.ino(),
            target,
            accessed: (of.atime(), of.atime_nsec()),
        })
    }
}

impl Act for List {
    fn act(self) -> Done<Vec<String>> {
        let entries = fs::read_dir(&self.path).doing(&self.path)?;
        let names: Result<Vec<String>, _> = entries
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect();
        let mut names = names.doing(self.path)?;
        names.sort_unstable();
        Ok(names)
    }
}

impl Act for GetMountOptions {
    fn act(self) -> Done<MountOptions> {
        let text = fs::read_to_string("/proc/self/mountinfo").doing("mountinfo")?;
        let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(self.path.as_str()));
        let found = line.and_then(|line| {
            let (mount, filesystem) = line.split_once(" - ")?;
            Some(MountOptions {
                kind: filesystem.split(' ').next()?.to_owned(),
                options: mount.split(' ').nth(5)?.to_owned(),
                filesystem: filesystem.split(' ').next_back()?.to_owned(),
                optional: mount.split(' ').skip(6).map(str::to_owned).collect(),
            })
        });
        found.ok_or_else(|| Failure::new(format!("nothing is mounted at {}", self.path)))
    }
}

impl Act for GetClocks {
    fn act(self) -> Done<Clocks> {
        let read = |clock| {
            clock_gettime(clock).doing("clock_gettime").map(|now| Duration::from(now).as_nanos() as u64)
        };
        Ok(Clocks {
            monotonic: read(ClockId::CLOCK_MONOTONIC)?,
            boottime: read(ClockId::CLOCK_BOOTTIME)?,
            realtime: read(ClockId::CLOCK_REALTIME)?,
        })
    }
}

impl Act for Rusage {
    fn act(self) -> Done<u64> {
        let mut total = 0_u64;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who).doing("getrusage")?;
            for time in [usage.user_time(), usage.system_time()] {
                let nanoseconds = time.tv_sec() * 1_000_000_000 + time.tv_usec() * 1_000;
                total += u64::try_from(nanoseconds).doing("getrusage")?;
            }
        }
        Ok(total)
    }
}

impl Act for GetTerminal {
    fn act(self) -> Done<Terminal> {
        let size = runtime::process::terminal::size(std::io::stdin());
        Ok(Terminal {
            terminal: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
            rows: size.map(|size| size.height),
            columns: size.map(|size| size.width),
            controls: File::open("/dev/tty").is_ok(),
            session: nix::unistd::getsid(None).doing("getsid")? == nix::unistd::getpid(),
        })
    }
}

impl Act for OpenTerminal {
    fn act(self) -> Done<NewTerminal> {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let master = rustix::fs::open(&self.path, flags, rustix::fs::Mode::empty())
            .doing(format_args!("opening {}", self.path))?;
        let mut number: libc::c_uint = 0;
        // SAFETY: TIOCGPTN writes an unsigned int.
        let asked = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
        nix::errno::Errno::result(asked)
            .doing(format_args!("{} is not a terminal multiplexer", self.path))?;
        let of = fs::metadata(format!("/dev/pts/{number}")).doing(format_args!("/dev/pts/{number}"))?;
        let names = list("/dev/pts").act()?;
        // It stays open: the check looks at what it made.
        std::mem::forget(master);
        Ok(NewTerminal { number, names, mode: of.mode() & 0o7777, gid: of.gid() })
    }
}

impl Act for CountStdin {
    fn act(self) -> Done<Counted> {
        let mut all = Vec::new();
        std::io::stdin().lock().read_to_end(&mut all).doing("standard input")?;
        Ok(Counted { bytes: all.len(), sum: all.iter().map(|byte| u64::from(*byte)).sum() })
    }
}

impl Act for Run {
    fn act(self) -> Done<Ran> {
        let output = Command::new(&self.program).args(self.arguments).output().doing(self.program)?;
        let out = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Ran { status: output.status.code(), out })
    }
}
