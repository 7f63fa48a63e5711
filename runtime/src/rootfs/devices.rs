//! Device nodes and links. Source: runtime-spec config-linux.md, "Default Devices" and runtime-linux.md "Dev symbolic links".

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, mknodat, openat, statat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;

use super::attributes::Recursive;
use super::detached::Detached;
use super::mounts::Mounts;
use super::null::is_character;
use super::proc::is_procfs;
use super::resolve::Root;
use crate::error::{Doing, Error, Result};
use crate::oci::{Device, DeviceRule};

/// The nodes that every container has.
pub fn defaults() -> Vec<Device> {
    [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)]
        .into_iter()
        .map(|(name, minor)| character(name, 1, minor))
        .chain([character("tty", 5, 0)])
        .collect()
}

/// What every container may use whatever its rules say, as all runtimes grant it: the default nodes, terminals,
/// and making (not opening) any node.
pub fn default_rules() -> Vec<DeviceRule> {
    let rule = |kind: &str, major, minor, access: &str| DeviceRule {
        allow: true,
        kind: Some(kind.into()),
        major,
        minor,
        access: Some(access.into()),
    };
    let mut rules = vec![rule("c", None, None, "m"), rule("b", None, None, "m")];
    rules.extend(defaults().iter().map(|node| rule("c", Some(node.major), Some(node.minor), "rwm")));
    // /dev/console, /dev/pts/*, /dev/ptmx.
    let terminals = [(5, Some(1)), (136, None), (5, Some(2))];
    rules.extend(terminals.map(|(major, minor)| rule("c", Some(major), minor, "rwm")));
    rules
}

/// Makes the default nodes, the asked ones and the links. Where mknod(2) is not allowed, as in a user namespace,
/// the host's nodes are bound instead.
///
/// # Errors
/// A node that cannot be made, by path.
pub fn make(root: &Root, mounts: &Mounts<'_>, more: &[Device]) -> Result<()> {
    let dev = dev(root)?;
    // A bound /dev is the host's: nothing of it is to be changed.
    if mounts.is_bound(&dev)? {
        return Ok(());
    }
    let has_terminals = has_terminals(root);
    let replaced = |device: &Device| more.iter().any(|other| other.path == device.path);
    for device in defaults().iter().filter(|device| !replaced(device)) {
        let name = device.path.file_name().unwrap_or_default();
        node(&dev, name, device).map_err(|error| named(device, &error))?;
    }
    // A container's terminals are its own: /dev/ptmx becomes a link to that of its devpts below.
    for device in more.iter().filter(|device| !(has_terminals && device.path == Path::new("/dev/ptmx"))) {
        let made = root.ensure_parent(&device.path).and_then(|(dir, name)| {
            if is_procfs(&dir)? {
                return Err(Error::new("a link leads into procfs"));
            }
            node(&dir, name, device)
        });
        made.map_err(|error| named(device, &error))?;
    }
    links(&dev)?;
    if has_terminals { link_ptmx(&dev) } else { Ok(()) }
}

fn named(device: &Device, error: &Error) -> Error {
    Error::new(format!("config.json: linux.devices: making {}: {error}", device.path.display()))
}

fn character(name: &str, major: i64, minor: i64) -> Device {
    let path = Path::new("/dev").join(name);
    Device { kind: "c".into(), path, major, minor, file_mode: Some(0o666), uid: None, gid: None }
}

/// The container's /dev, made if it is missing. An image cannot redirect it.
fn dev(root: &Root) -> Result<OwnedFd> {
    let path = Path::new("/dev");
    match root.find_no_links(path) {
        Err(error) if error.errno() == Some(libc::ENOENT) => root.ensure_dir(path, 0o755),
        found => root.check_directory(found?, path),
    }
}

/// Whether a devpts is mounted at /dev/pts.
fn has_terminals(root: &Root) -> bool {
    let found = root.find_no_links(Path::new("/dev/pts/ptmx"));
    found.is_ok_and(|found| is_ptmx(&found).unwrap_or(false))
}

fn is_ptmx(found: &impl AsFd) -> Result<bool> {
    is_character(found, 5, 2)
}

/// Opens the multiplexer by which a terminal is made: that of the container's devpts, or what lies at /dev/ptmx. An image may have
/// anything there, so it is looked at before it is opened, and what was opened is looked at again.
///
/// # Errors
/// There is none.
pub fn ptmx(root: &Root) -> Result<OwnedFd> {
    let wrong = || {
        Error::new("no terminal multiplexer (a character device, 5:2) is at /dev/pts/ptmx or /dev/ptmx")
            .remedy("process.terminal needs a mount of type devpts at /dev/pts")
    };
    let path = if has_terminals(root) { Path::new("/dev/pts/ptmx") } else { Path::new("/dev/ptmx") };
    if !root.find(path).is_ok_and(|found| is_ptmx(&found).unwrap_or(false)) {
        return Err(wrong());
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = root
        .open_at(path, flags, rustix::fs::ResolveFlags::empty())
        .doing(|| format!("opening a terminal at {}", path.display()))?;
    if is_ptmx(&opened)? { Ok(opened) } else { Err(wrong()) }
}

fn node(dir: &OwnedFd, name: &OsStr, device: &Device) -> Result<()> {
    let kind = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => return Err(Error::new(format!("type '{other}' is none of c, u, b, p"))),
    };
    let number =
        |number: i64| u32::try_from(number).map_err(|_| Error::new(format!("invalid number {number}")));
    let id = makedev(number(device.major)?, number(device.minor)?);
    let mode = Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777);
    match mknodat(dir, name, kind, mode, id) {
        Ok(()) => {}
        // An image may bring a node of its own; it must be the one asked for.
        Err(Errno::EXIST) => {
            let found = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).doing(|| "looking at what is there")?;
            return if is_device(&found, kind, id) {
                Ok(())
            } else {
                Err(Errno::EXIST).doing(|| "something else is there")
            };
        }
        Err(Errno::PERM) => return bind_from_host(dir, name, device, kind, id),
        Err(error) => return Err(error).doing(|| "mknod"),
    }
    let (owner, group) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
    // While devices are made nothing is cut from modes, and who may make nodes is root. Anybody may make a pipe.
    if (owner, group) == (0, 0) && kind != FileType::Fifo {
        return Ok(());
    }
    let made = openat(dir, name, place_flags(), Mode::empty()).doing(|| "opening it")?;
    let (owner, group) = (Uid::from_raw(owner), Gid::from_raw(group));
    chownat(&made, "", Some(owner), Some(group), AtFlags::EMPTY_PATH).doing(|| "giving it to its owner")
}

fn is_device(found: &rustix::fs::Stat, kind: FileType, id: u64) -> bool {
    FileType::from_raw_mode(found.st_mode) == kind && (kind == FileType::Fifo || found.st_rdev == id)
}

/// A place that something is mounted on or given to, never what a link there leads to.
fn place_flags() -> OFlags {
    OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn bind_from_host(dir: &OwnedFd, name: &OsStr, device: &Device, kind: FileType, id: u64) -> Result<()> {
    let doing = || "binding the host's";
    let source =
        rustix::fs::open(&device.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(doing)?;
    if !is_device(&fstat(&source).doing(doing)?, kind, id) {
        return Err(Error::new("what the host has at this path is another device")
            .remedy("device nodes cannot be made here, so only those of the host can be shown"));
    }
    let target = mount_point(dir, name)?;
    Detached::copy_of(&source, Recursive::No).doing(doing)?.attach(&target).map(drop)
}

/// A file to mount on, made if it is missing. A link there is refused.
fn mount_point(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    let doing = || "opening the mount point";
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = match openat(dir, name, flags, Mode::from_raw_mode(0o644)) {
        Err(Errno::EXIST | Errno::ROFS) => openat(dir, name, place_flags(), Mode::empty()).doing(doing)?,
        made => return made.doing(doing),
    };
    match FileType::from_raw_mode(fstat(&found).doing(doing)?.st_mode) {
        FileType::Symlink | FileType::Directory => {
            Err(Error::new(format!("/dev/{} is a link or a directory", name.display()))
                .remedy("an image may not redirect this path"))
        }
        _ if is_procfs(&found)? => Err(Error::new("it lies in procfs")),
        _ => Ok(found),
    }
}

fn links(dev: &OwnedFd) -> Result<()> {
    let mut links = vec![
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    if Path::new("/proc/kcore").exists() {
        links.push(("core", "/proc/kcore"));
    }
    for (name, target) in links {
        match symlinkat(target, dev, name) {
            Err(Errno::EXIST) | Ok(()) => {}
            Err(error) => return Err(error).doing(|| format!("linking /dev/{name}")),
        }
    }
    Ok(())
}

/// With a devpts of its own a container's ptmx must be that one's.
fn link_ptmx(dev: &OwnedFd) -> Result<()> {
    let doing = || "linking /dev/ptmx";
    match unlinkat(dev, "ptmx", AtFlags::empty()) {
        // Something is mounted there, or nothing can be changed here: what is there stays.
        Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::ROFS) => {}
        Err(error) => return Err(error).doing(doing),
    }
    match symlinkat("pts/ptmx", dev, "ptmx") {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let found = statat(dev, "ptmx", AtFlags::SYMLINK_NOFOLLOW).doing(doing)?;
            let right = FileType::from_raw_mode(found.st_mode) == FileType::Symlink
                || is_device(&found, FileType::CharacterDevice, makedev(5, 2));
            if right { Ok(()) } else { Err(Errno::EXIST).doing(doing) }
        }
        Err(error) => Err(error).doing(doing),
    }
}

/// Binds a terminal over /dev/console. In a /dev that is bound from the host nothing is made: without a place for it there, the
/// container goes without.
///
/// # Errors
/// /dev cannot be written, /dev/console is a link, or the terminal is not in the container's devpts.
pub fn console(root: &Root, mounts: &Mounts<'_>, terminal: &impl AsFd) -> Result<()> {
    let bound = dev(root).and_then(|dev| {
        let missing = || matches!(statat(&dev, "console", AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT));
        if mounts.is_bound(&dev)? && missing() {
            return Ok(());
        }
        let target = mount_point(&dev, OsStr::new("console"))?;
        Detached::copy_of(terminal, Recursive::No).doing(|| "copying the terminal")?.attach(&target).map(drop)
    });
    bound.map_err(|error| Error::new(format!("binding the terminal to /dev/console: {error}")))
}
