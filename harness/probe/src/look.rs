//! Verbs that look, and those that change what is looked at by others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use runtime::namespace::{Kind, id};
use serde_json::json;

use super::{Answer, told};

pub(super) fn identity() -> Answer {
    let exe = told("reading /proc/self/exe", std::fs::read_link("/proc/self/exe"))?;
    Ok(json!({ "pid": std::process::id(), "exe": exe }))
}

pub(super) fn processes() -> Answer {
    let entries = told("reading /proc", std::fs::read_dir("/proc"))?;
    let mut pids: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
        .collect();
    pids.sort_unstable();
    Ok(json!(pids))
}

pub(super) fn namespaces() -> Answer {
    let own = std::process::id().cast_signed();
    let ids: BTreeMap<_, _> =
        Kind::ALL.into_iter().filter_map(|kind| Some((kind.file(), id(own, kind).ok()?))).collect();
    Ok(json!(ids))
}

pub(super) fn read(path: &str) -> Answer {
    told(path, std::fs::read_to_string(path)).map(|text| json!(text))
}

pub(super) fn hostname() -> Answer {
    told("gethostname", nix::unistd::gethostname()).map(|name| json!(name.to_string_lossy()))
}

pub(super) fn set_hostname(name: &str) -> Answer {
    told("sethostname", nix::unistd::sethostname(name)).map(|()| json!(name))
}

/// Devices with their IPv4 addresses, and the TCP ports on which somebody listens.
pub(super) fn interfaces() -> Answer {
    let mut devices = BTreeMap::new();
    for entry in told("reading /proc/net/dev", std::fs::read_to_string("/proc/net/dev"))?.lines().skip(2) {
        let name = entry.split(':').next().unwrap_or_default().trim();
        devices.insert(name.to_owned(), Vec::<String>::new());
    }
    for found in told("getifaddrs", nix::ifaddrs::getifaddrs())? {
        let address = found.address.filter(|address: &SockaddrStorage| {
            address.family() == Some(nix::sys::socket::AddressFamily::Inet)
        });
        if let Some(address) = address {
            let text = address.to_string();
            let text = text.split(':').next().unwrap_or_default().to_owned();
            // An address's label such as lo:0 is no device.
            let device = found.interface_name.split(':').next().unwrap_or_default().to_owned();
            devices.entry(device).or_default().push(text);
        }
    }
    let tcp = told("reading /proc/net/tcp", std::fs::read_to_string("/proc/net/tcp"))?;
    let ports: Vec<u16> = tcp
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is the state LISTEN, see proc(5).
            (fields.get(3) == Some(&"0A")).then(|| fields[1].split(':').nth(1))?
        })
        .filter_map(|port| u16::from_str_radix(port, 16).ok())
        .collect();
    Ok(json!({ "devices": devices, "listening": ports }))
}

/// Listens on a free TCP port until the process ends.
pub(super) fn listen() -> Answer {
    let socket = told("listening", std::net::TcpListener::bind(("0.0.0.0", 0)))?;
    let port = told("listening", socket.local_addr())?.port();
    // Kept open on purpose: it is what others look for.
    std::mem::forget(socket);
    Ok(json!(port))
}

/// Gives the loopback device an address and brings it up.
pub(super) fn add_address(address: &str) -> Answer {
    use std::os::fd::AsRawFd;
    let address: std::net::Ipv4Addr = told("address", address.parse())?;
    let socket = told("socket", std::net::UdpSocket::bind(("0.0.0.0", 0)))?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo:0") {
        *to = from.cast_signed();
    }
    let wanted = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    };
    let target = std::ptr::from_mut(&mut request.ifr_ifru).cast::<libc::sockaddr_in>();
    // SAFETY: the union is as large as a sockaddr, which a sockaddr_in fits.
    unsafe { target.write_unaligned(wanted) };
    // SAFETY: SIOCSIFADDR reads an ifreq through the pointer.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request) };
    told("setting the address", nix::errno::Errno::result(result))?;
    Ok(json!(address.to_string()))
}

/// Every way by which a file of the host might still be reached: from the root and above it, through the roots,
/// working directories and open files of all visible processes, and below every mount.
pub(super) fn reach(marker: &str) -> Answer {
    let below = marker.trim_start_matches('/');
    let mut starts: Vec<PathBuf> = vec!["/".into(), "/../../../../..".into(), ".".into()];
    if let Ok(text) = std::fs::read_to_string("/proc/self/mountinfo") {
        starts.extend(text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from));
    }
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if process.file_name().to_string_lossy().chars().all(|c| c.is_ascii_digit()) {
            starts.push(process.path().join("root"));
            starts.push(process.path().join("cwd"));
            starts.push(process.path().join("cwd/../../../../.."));
            let open = std::fs::read_dir(process.path().join("fd"));
            starts.extend(open.into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    let found: Vec<PathBuf> = starts
        .iter()
        .flat_map(|start| [start.join(below), start.join("../../../../../../../..").join(below)])
        .filter(|path| Path::new(path).exists())
        .collect();
    Ok(json!({ "tried": starts.len() * 2, "found": found }))
}

pub(super) fn domainname() -> Answer {
    Ok(json!(rustix::system::uname().domainname().to_string_lossy()))
}

pub(super) fn set_domainname(name: &str) -> Answer {
    told("setdomainname", rustix::system::setdomainname(name.as_bytes())).map(|()| json!(name))
}

/// What `uname` and the boot id say of the kernel.
pub(super) fn kernel() -> Answer {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Ok(json!({ "release": release, "boot": boot.trim() }))
}

/// Opens, for so many milliseconds, the executable of every other process that can be seen: device and inode of each
/// file, and whether it is on a read-only mount or sealed.
pub(super) fn watch_executables(millis: &str) -> Answer {
    use std::os::unix::fs::MetadataExt;
    let millis: u64 = told("milliseconds", millis.parse())?;
    let end = std::time::Instant::now() + std::time::Duration::from_millis(millis);
    let own = std::process::id().to_string();
    let mut seen = std::collections::BTreeSet::new();
    while std::time::Instant::now() < end {
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = process.file_name().to_string_lossy().into_owned();
            if name == own || !name.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let Ok(file) = std::fs::File::open(process.path().join("exe")) else { continue };
            let (Ok(of), Ok(mount)) = (file.metadata(), rustix::fs::fstatvfs(&file)) else { continue };
            let read_only = mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
            seen.insert((of.dev(), of.ino(), read_only));
        }
    }
    Ok(json!(seen))
}
