//! Device nodes and links. Source: runtime-spec config-linux.md, "Default Devices" and runtime-linux.md "Dev symbolic links".

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, makedev, mknodat};
use rustix::io::Errno;

use super::resolve::{Root, by_descriptor};
use crate::error::{Doing, Error, Result};
use crate::oci::{Device, DeviceRule, Mount};

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
pub fn make(root: &Root, mounts: &[Mount], more: &[Device]) -> Result<()> {
    // A bound /dev is the host's: nothing of it is to be changed.
    if mounts.iter().any(|mount| mount.destination == Path::new("/dev") && is_bind(mount)) {
        return Ok(());
    }
    let replaced = |device: &Device| more.iter().any(|other| other.path == device.path);
    for device in defaults().iter().filter(|device| !replaced(device)).chain(more) {
        node(root, device)?;
    }
    links(root)
}

fn character(name: &str, major: i64, minor: i64) -> Device {
    let path = Path::new("/dev").join(name);
    Device { kind: "c".into(), path, major, minor, file_mode: Some(0o666), uid: None, gid: None }
}

fn is_bind(mount: &Mount) -> bool {
    mount.kind.as_deref() == Some("bind")
        || mount.options.iter().any(|option| option == "bind" || option == "rbind")
}

fn node(root: &Root, device: &Device) -> Result<()> {
    let field = || format!("config.json: linux.devices: making {}", device.path.display());
    let kind = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => return Err(Error::new(format!("{}: type '{other}' is none of c, u, b, p", field()))),
    };
    let number =
        |number: i64| u32::try_from(number).map_err(|_| Error::new(format!("{}: bad number", field())));
    let id = makedev(number(device.major)?, number(device.minor)?);
    let mode = Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777);
    let (dir, name) = root.ensure_parent(&device.path)?;
    match mknodat(&dir, name, kind, mode, id) {
        Ok(()) => {}
        // An image may bring a node of its own; it must be the one asked for.
        Err(Errno::EXIST) => return same_device(&dir, name, kind, id).doing(field),
        Err(Errno::PERM) => return bind_from_host(root, device),
        Err(error) => return Err(error).doing(field),
    }
    let (owner, group) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
    // While devices are made nothing is cut from modes, and who may make nodes is root. Anybody may make a pipe.
    if (owner, group) == (0, 0) && kind != FileType::Fifo {
        return Ok(());
    }
    let made = rustix::fs::openat(
        &dir,
        name,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )
    .doing(field)?;
    rustix::fs::chownat(
        &made,
        "",
        Some(Uid::from_raw(owner)),
        Some(Gid::from_raw(group)),
        AtFlags::EMPTY_PATH,
    )
    .doing(field)
}

fn same_device(dir: &OwnedFd, name: &std::ffi::OsStr, kind: FileType, id: u64) -> Result<(), Errno> {
    let found = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let same =
        FileType::from_raw_mode(found.st_mode) == kind && (kind == FileType::Fifo || found.st_rdev == id);
    if same { Ok(()) } else { Err(Errno::EXIST) }
}

fn bind_from_host(root: &Root, device: &Device) -> Result<()> {
    let target = root.ensure_file(&device.path)?;
    mount(Some(&device.path), &by_descriptor(&target), None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .doing(|| format!("binding the host's {}", device.path.display()))
}

fn links(root: &Root) -> Result<()> {
    let dev = root.ensure_dir(Path::new("/dev"), 0o755)?;
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
        match rustix::fs::symlinkat(target, &dev, name) {
            Err(Errno::EXIST) | Ok(()) => {}
            Err(error) => return Err(error).doing(|| format!("linking /dev/{name}")),
        }
    }
    // With a devpts of its own a container's ptmx must be that one's.
    if root.find(Path::new("/dev/pts/ptmx")).is_ok() {
        let _ = rustix::fs::unlinkat(&dev, "ptmx", AtFlags::empty());
        rustix::fs::symlinkat("pts/ptmx", &dev, "ptmx").doing(|| "linking /dev/ptmx")?;
    }
    Ok(())
}

/// Binds a terminal over /dev/console.
///
/// # Errors
/// /dev cannot be written, or the terminal is not in the container's devpts.
pub fn console(root: &Root, terminal: &impl AsFd) -> Result<()> {
    let target = root.ensure_file(&PathBuf::from("/dev/console"))?;
    mount(
        Some(&by_descriptor(terminal)),
        &by_descriptor(&target),
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .doing(|| "binding the terminal to /dev/console")
}
