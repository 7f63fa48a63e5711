//! Trying what may be refused: the answer is the error number, or 0.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid};
use serde::{Deserialize, Serialize};

use crate::ask::{Act, Argument, Ask, Written, arguments, misused, written};
use crate::calls;
use crate::failure::{Done, Failure};
pub use crate::octal::Octal;

/// The error number of what was tried, or 0.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tried(pub i32);

impl Tried {
    /// Nothing refused it.
    pub const ALLOWED: Self = Self(0);

    /// Whether nothing refused it.
    pub fn is_allowed(self) -> bool {
        self == Self::ALLOWED
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_allowed() {
            f.write_str("0")
        } else {
            write!(f, "{:?} ({})", Errno::from_raw(self.0), self.0)
        }
    }
}

impl fmt::Debug for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Defines all attempts: each has the same answer, so that lists of them can be tried one after the other.
macro_rules! attempts {
    ($($(#[$doc:meta])* $word:literal $function:ident: $name:ident { $($field:ident: $type:ty),* $(,)? } => $act:expr;)+) => {
        /// What is tried.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Attempt {
            $($(#[$doc])* $name { $(#[allow(missing_docs, reason = "the attempt's own words say it")] $field: $type,)* },)+
        }

        $(
            $(#[$doc])*
            #[must_use]
            pub fn $function($($field: <$type as Argument>::Given<'_>),*) -> Attempt {
                Attempt::$name { $($field: Argument::given($field)),* }
            }
        )+

        impl Ask for Attempt {
            type Answer = Tried;

            fn words(&self) -> Vec<String> {
                match self {
                    $(Self::$name { $($field),* } => {
                        #[allow(unused_mut, reason = "an attempt may have no arguments")]
                        let mut words = vec!["try".to_owned(), $word.to_owned()];
                        $(Argument::write($field, &mut words);)*
                        words
                    })+
                }
            }
        }

        impl Attempt {
            fn read_kind(kind: &str, rest: &[String]) -> Option<Self> {
                #[allow(unused_mut, reason = "an attempt may have no arguments")]
                let mut words = rest.iter();
                let read = match kind {
                    $($word => Self::$name { $($field: Argument::read(&mut words)?),* },)+
                    _ => return None,
                };
                words.as_slice().is_empty().then_some(read)
            }

            fn attempt(self) -> Result<(), Wrong> {
                match self {
                    $(Self::$name { $($field),* } => $act,)+
                }
                Ok(())
            }
        }
    };
}

attempts! {
    /// Reads a byte of a file.
    "read" read: Read { path: String }
        => File::open(path)?.read(&mut [0; 1]).map(drop)?;
    /// Opens a file to read it.
    "open" open: Open { path: String }
        => File::open(path).map(drop)?;
    /// Writes a text over the beginning of a file that is there.
    "write" write: Write { path: String, text: String }
        => OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())?;
    /// Writes a text to a file, which is made if it is not there.
    "write-new" write_new: WriteNew { path: String, text: String }
        => fs::write(path, text)?;
    /// Writes so many bytes to a file, which is made if it is not there.
    "fill" fill: Fill { path: String, bytes: usize }
        => fs::write(path, vec![b'x'; bytes])?;
    /// Appends a text to a file that is there.
    "append" append: Append { path: String, text: String }
        => OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())?;
    /// Calls the kernel with arguments that change nothing but a fresh process.
    "call" call: Call { name: String }
        => calls::bare(&name)?;
    /// Makes or empties a file.
    "create" create: Create { path: String }
        => File::create(path).map(drop)?;
    /// Makes a directory.
    "mkdir" mkdir: Mkdir { path: String }
        => fs::create_dir(path)?;
    /// Removes a file.
    "unlink" unlink: Unlink { path: String }
        => fs::remove_file(path)?;
    /// Renames.
    "rename" rename: Rename { from: String, to: String }
        => fs::rename(from, to)?;
    /// Removes a directory.
    "rmdir" rmdir: Rmdir { path: String }
        => fs::remove_dir(path)?;
    /// Makes a hard link.
    "link" link: Link { from: String, to: String }
        => fs::hard_link(from, to)?;
    /// Makes a symbolic link.
    "symlink" symlink: Symlink { target: String, path: String }
        => std::os::unix::fs::symlink(target, path)?;
    /// Changes permissions, given in octal.
    "chmod" chmod: Chmod { path: String, mode: Octal }
        => fs::set_permissions(path, Permissions::from_mode(mode.0))?;
    /// Changes owners.
    "chown" chown: Chown { path: String, uid: u32, gid: u32 }
        => std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
    /// Makes a device.
    "mknod" mknod: MakeDevice { path: String, kind: Device, major: u32, minor: u32 }
        => calls::mknod(&path, kind == Device::Block, major, minor)?;
    /// Makes a pair of network devices, one end here and the other in the network namespace of a process.
    "make-pair" make_pair: MakePair { here: String, there: String, pid: i32 }
        => runtime::network::link::make_pair(&here, &there, pid)?;
    /// Limits what leaves a network device, in bytes per second, with a burst in bytes.
    "limit-rate" limit_rate: LimitRate { link: String, rate: u32, burst: u32 }
        => runtime::network::link::limit_rate(&link, rate, burst)?;
    /// Sets the host name.
    "sethostname" sethostname: Sethostname { name: String }
        => nix::unistd::sethostname(name)?;
    /// Mounts a tmpfs.
    "mount" mount: Mount { path: String }
        => calls::mount_kind("tmpfs", &path, None)?;
    /// Binds a directory or file to another.
    "bind" bind: Bind { from: String, to: String }
        => nix::mount::mount(Some(from.as_str()), to.as_str(), None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>)?;
    /// Mounts a v1 cgroup hierarchy.
    "mount-cgroup" mount_cgroup: MountCgroup { path: String, options: String }
        => calls::mount_kind("cgroup", &path, Some(&options))?;
    /// Mounts a devpts of its own.
    "mount-devpts" mount_devpts: MountDevpts { path: String, options: String }
        => calls::mount_kind("devpts", &path, Some(&options))?;
    /// Makes a read-only bind mount writable.
    "remount-rw" remount_rw: RemountRw { path: String }
        => calls::remount_writable(&path)?;
    /// Sends a signal; 0 only asks whether it could be sent.
    "kill" kill_process: Kill { target: i32, signal: i32 }
        => kill(Pid::from_raw(target), if signal == 0 { None } else { Some(Signal::try_from(signal)?) })?;
    /// Sets the supplementary groups to one.
    "setgroups" setgroups: Setgroups { gid: u32 }
        => nix::unistd::setgroups(&[Gid::from_raw(gid)])?;
    /// Becomes a user.
    "setuid" setuid: Setuid { uid: u32 }
        => nix::unistd::setuid(Uid::from_raw(uid))?;
    /// Attaches to a process as its debugger.
    "ptrace" ptrace: Ptrace { target: i32 }
        => nix::sys::ptrace::attach(Pid::from_raw(target))?;
    /// Reads the memory of a process.
    "vm-read" vm_read: VmRead { target: i32 }
        => calls::read_memory(target)?;
    /// Opens a process by its PID.
    "pidfd" pidfd: Pidfd { target: i32 }
        => calls::open_pidfd(target)?;
    /// Listens on a TCP port, until the process ends.
    "listen" listen: Listen { port: u16 }
        => std::mem::forget(TcpListener::bind(("0.0.0.0", port))?);
    /// Listens on an abstract socket, until the process ends.
    "listen-abstract" listen_abstract: ListenAbstract { name: String }
        => std::mem::forget(UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?);
    /// Connects to an abstract socket.
    "connect-abstract" connect_abstract: ConnectAbstract { name: String }
        => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(drop)?;
    /// Opens a raw socket.
    "raw-socket" raw_socket: RawSocket {}
        => calls::raw_socket()?;
    /// Opens a POSIX message queue.
    "mq" mq: MessageQueue { name: String }
        => calls::message_queue(&name, false)?;
    /// Makes a POSIX message queue.
    "make-mq" make_mq: MakeMessageQueue { name: String }
        => calls::message_queue(&name, true)?;
    /// Looks for a key in the session's keyring, by its description.
    "keyctl-search" keyctl_search: KeyctlSearch { name: String }
        => calls::search_key(&name)?;
    /// Executes a probe, which answers nothing to anybody.
    "execute" execute: Execute { program: String }
        => Command::new(program).arg("true").stdout(Stdio::null()).status().map(drop)?;
    /// Unmounts, even if it is in use.
    "umount" umount: Umount { path: String }
        => umount2(path.as_str(), MntFlags::MNT_DETACH)?;
    /// Opens a file by its handle, without a path.
    "handle" handle: Handle { path: String }
        => calls::open_by_handle(&path)?;
    /// Opens a file to read it past the page cache.
    "direct" direct: Direct { path: String }
        => OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).map(drop)?;
}

/// Kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A character device.
    Char,
    /// A block device.
    Block,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Char { "c" } else { "b" })
    }
}

impl std::str::FromStr for Device {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "c" => Ok(Self::Char),
            "b" => Ok(Self::Block),
            _ => Err(Failure::new(format!("a device is c or b, not '{text}'"))),
        }
    }
}

crate::ask::word_arguments!(Device);

/// What went wrong with an attempt: the kernel refused it, or it could not be made at all.
enum Wrong {
    Refused(i32),
    Failed(Failure),
}

impl From<Errno> for Wrong {
    fn from(error: Errno) -> Self {
        Self::Refused(error as i32)
    }
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Self::Refused(number),
            None => Self::Failed(Failure::new(error.to_string())),
        }
    }
}

impl From<runtime::Error> for Wrong {
    fn from(error: runtime::Error) -> Self {
        match error.errno() {
            Some(number) => Self::Refused(number),
            None => Self::Failed(Failure::new(error.to_string())),
        }
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Attempt {
    /// Reads an attempt from its words; `None` if it is another request.
    pub(crate) fn read(words: &[String]) -> Option<Done<Self>> {
        let rest = arguments("try", words)?;
        let read = rest.split_first().and_then(|(kind, rest)| Self::read_kind(kind, rest));
        Some(read.ok_or_else(|| misused("try", rest)))
    }

    /// Tries it; the answer as JSON.
    pub(crate) fn act(self) -> Done<Written> {
        written(&Act::act(self)?)
    }
}

impl Act for Attempt {
    fn act(self) -> Done<Tried> {
        match self.attempt() {
            Ok(()) => Ok(Tried::ALLOWED),
            Err(Wrong::Refused(number)) => Ok(Tried(number)),
            Err(Wrong::Failed(failure)) => Err(failure),
        }
    }
}
