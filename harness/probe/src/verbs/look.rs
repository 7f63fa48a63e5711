//! What this process sees: processes, namespaces, names, devices, files of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage};
use runtime::namespace::{Kind, id};
use rustix::fs::{StatVfsMountFlags, fstatvfs};
use serde::{Deserialize, Serialize};

use crate::ask::{Act, verbs};
use crate::bare;
use crate::failure::{Doing, Done};

verbs! {
    /// What this process sees.
    Look {
        /// Answers, and does nothing else.
        "true" alive: Alive {} -> ();
        /// Who this process is.
        "identity" identity: GetIdentity {} -> Identity;
        /// The PIDs in /proc, sorted.
        "processes" processes: Processes {} -> Vec<i32>;
        /// The identities of this process's namespaces, by the names of their links in /proc/PID/ns.
        "namespaces" namespaces: Namespaces {} -> BTreeMap<String, u64>;
        /// The text of a file.
        "read" read: Read { path: String } -> String;
        /// Whether a path exists, without following it.
        "exists" exists: Exists { path: String } -> bool;
        /// The host name.
        "hostname" hostname: Hostname {} -> String;
        /// Sets the host name, and tells it.
        "set-hostname" set_hostname: SetHostname { name: String } -> String;
        /// The NIS domain name.
        "domainname" domainname: Domainname {} -> String;
        /// Sets the NIS domain name, and tells it.
        "set-domainname" set_domainname: SetDomainname { name: String } -> String;
        /// Network devices and the TCP ports on which somebody listens.
        "interfaces" interfaces: GetInterfaces {} -> Interfaces;
        /// Every way by which a file of the host might still be reached: from the root and above it, through the roots,
        /// working directories and open files of all visible processes, and below every mount.
        "reach" reach: Reach { marker: String } -> Reached;
        /// What `uname` and the boot id say of the kernel.
        "kernel" kernel: GetKernel {} -> Kernel;
        /// What the filters of this process say to calls, each given as NUMBER or NUMBER,FIRST-ARGUMENT, without making one: the
        /// error number, or 0 where they let it through.
        "filtered" filtered: Filtered { calls: Vec<String> } -> BTreeMap<String, i32>;
        /// Opens, for so many milliseconds, the executable of every other process that can be seen.
        "watch-executables" watch_executables: WatchExecutables { millis: u64 } -> BTreeSet<Executable>;
    }
}

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its PID, as it sees it.
    pub pid: i32,
    /// Its program.
    pub exe: PathBuf,
}

/// Network devices, and who listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interfaces {
    /// Devices with their IPv4 addresses.
    pub devices: BTreeMap<String, Vec<Ipv4Addr>>,
    /// The TCP ports on which somebody listens.
    pub listening: Vec<u16>,
}

/// Ways to a file of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// How many were tried.
    pub tried: usize,
    /// Those that led there.
    pub found: Vec<PathBuf>,
}

/// Which kernel runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// `uname -r`
    pub release: String,
    /// The boot id.
    pub boot: String,
}

/// A program file that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Executable {
    /// Device of its file system.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Whether the mount that it is on is read-only.
    pub read_only: bool,
}

impl Act for Alive {
    fn act(self) -> Done<()> {
        Ok(())
    }
}

impl Act for GetIdentity {
    fn act(self) -> Done<Identity> {
        let exe = fs::read_link("/proc/self/exe").doing("reading /proc/self/exe")?;
        Ok(Identity { pid: std::process::id().cast_signed(), exe })
    }
}

impl Act for Processes {
    fn act(self) -> Done<Vec<i32>> {
        let mut pids: Vec<i32> = fs::read_dir("/proc")
            .doing("reading /proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
            .collect();
        pids.sort_unstable();
        Ok(pids)
    }
}

impl Act for Namespaces {
    fn act(self) -> Done<BTreeMap<String, u64>> {
        let own = std::process::id().cast_signed();
        let supported = Kind::ALL.into_iter().filter(|kind| kind.is_supported());
        supported.map(|kind| Ok((kind.file().to_owned(), id(own, kind).doing(kind.file())?))).collect()
    }
}

impl Act for Read {
    fn act(self) -> Done<String> {
        fs::read_to_string(&self.path).doing(self.path)
    }
}

impl Act for Exists {
    fn act(self) -> Done<bool> {
        match Path::new(&self.path).symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error).doing(self.path),
        }
    }
}

impl Act for Hostname {
    fn act(self) -> Done<String> {
        Ok(nix::unistd::gethostname().doing("gethostname")?.to_string_lossy().into_owned())
    }
}

impl Act for SetHostname {
    fn act(self) -> Done<String> {
        nix::unistd::sethostname(&self.name).doing("sethostname")?;
        Ok(self.name)
    }
}

impl Act for Domainname {
    fn act(self) -> Done<String> {
        Ok(rustix::system::uname().domainname().to_string_lossy().into_owned())
    }
}

impl Act for SetDomainname {
    fn act(self) -> Done<String> {
        rustix::system::setdomainname(self.name.as_bytes()).doing("setdomainname")?;
        Ok(self.name)
    }
}

impl Act for GetInterfaces {
    fn act(self) -> Done<Interfaces> {
        let mut devices: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
        let table = fs::read_to_string("/proc/net/dev").doing("reading /proc/net/dev")?;
        for entry in table.lines().skip(2) {
            let name = entry.split(':').next().unwrap_or_default().trim();
            devices.insert(name.to_owned(), Vec::new());
        }
        for found in nix::ifaddrs::getifaddrs().doing("getifaddrs")? {
            let address = found
                .address
                .as_ref()
                .filter(|address: &&SockaddrStorage| address.family() == Some(AddressFamily::Inet));
            if let Some(address) = address.and_then(SockaddrStorage::as_sockaddr_in) {
                // An address's label such as lo:0 is no device.
                let device = found.interface_name.split(':').next().unwrap_or_default().to_owned();
                devices.entry(device).or_default().push(address.ip());
            }
        }
        let table = fs::read_to_string("/proc/net/tcp").doing("reading /proc/net/tcp")?;
        let listening = table
            .lines()
            .skip(1)
            .filter_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                // 0A is the state LISTEN, see proc(5).
                (fields.get(3) == Some(&"0A")).then(|| fields[1].split(':').nth(1))?
            })
            .filter_map(|port| u16::from_str_radix(port, 16).ok())
            .collect();
        Ok(Interfaces { devices, listening })
    }
}

impl Act for Reach {
    fn act(self) -> Done<Reached> {
        let below = self.marker.trim_start_matches('/');
        let mut starts: Vec<PathBuf> = vec!["/".into(), "/../../../../..".into(), ".".into()];
        let mounts = fs::read_to_string("/proc/self/mountinfo").doing("reading /proc/self/mountinfo")?;
        starts.extend(mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from));
        for process in fs::read_dir("/proc").doing("reading /proc")?.flatten() {
            if process.file_name().to_string_lossy().chars().all(|c| c.is_ascii_digit()) {
                starts.push(process.path().join("root"));
                starts.push(process.path().join("cwd"));
                starts.push(process.path().join("cwd/../../../../.."));
                let open = fs::read_dir(process.path().join("fd"));
                starts.extend(open.into_iter().flatten().flatten().map(|entry| entry.path()));
            }
        }
        let found: Vec<PathBuf> = starts
            .iter()
            .flat_map(|start| [start.join(below), start.join("../../../../../../../..").join(below)])
            .filter(|path| path.exists())
            .collect();
        Ok(Reached { tried: starts.len() * 2, found })
    }
}

impl Act for GetKernel {
    fn act(self) -> Done<Kernel> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").doing("reading the boot id")?;
        Ok(Kernel { release, boot: boot.trim().to_owned() })
    }
}

impl Act for Filtered {
    fn act(self) -> Done<BTreeMap<String, i32>> {
        self.calls
            .into_iter()
            .map(|call| {
                let (number, first) = call.split_once(',').unwrap_or((&call, "0"));
                let answer = bare::filtered(number.parse().doing(&call)?, first.parse().doing(&call)?)?;
                Ok((call, answer))
            })
            .collect()
    }
}

impl Act for WatchExecutables {
    fn act(self) -> Done<BTreeSet<Executable>> {
        let end = Instant::now() + Duration::from_millis(self.millis);
        let own = std::process::id().to_string();
        let mut seen = BTreeSet::new();
        while Instant::now() < end {
            for process in fs::read_dir("/proc").doing("reading /proc")?.flatten() {
                let name = process.file_name().to_string_lossy().into_owned();
                if name == own || !name.bytes().all(|byte| byte.is_ascii_digit()) {
                    continue;
                }
                let Ok(file) = File::open(process.path().join("exe")) else { continue };
                let (Ok(of), Ok(mount)) = (file.metadata(), fstatvfs(&file)) else { continue };
                let read_only = mount.f_flag.contains(StatVfsMountFlags::RDONLY);
                seen.insert(Executable { device: of.dev(), inode: of.ino(), read_only });
            }
        }
        Ok(seen)
    }
}
