//! What the first process of a container in a user namespace cannot do by itself, done by helpers that are still the host's root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use rustix::fs::{Mode, OFlags};

use super::channel::{Channel, Message};
use super::clone::{Child, Side, clone3};
use super::mapping::map_ids;
use super::pidfd;
use crate::error::{Doing, Error, Result};
use crate::namespace::Kind;
use crate::network::moved;
use crate::oci::{IdMapping, Linux, Mount, Spec};
use crate::rootfs::options::Options;
use crate::rootfs::proc::Proc;
use crate::rootfs::sources::{self, IdMaps, Sources, is_bind};

/// How many descriptors go with one message. Linux allows 253.
const AT_ONCE: usize = 200;

/// Makes the user namespaces whose mappings mounts ask for. `container` is the process whose namespace is meant by the option
/// `idmap` alone.
///
/// The caller must have a single thread.
///
/// # Errors
/// A mapping is refused.
pub(crate) fn id_maps(proc: &Proc, mounts: &[Mount], container: Option<i32>) -> Result<IdMaps> {
    let mut maps = IdMaps::new();
    let mut made: Vec<(&[IdMapping], &[IdMapping], usize)> = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        let (uids, gids) = (mount.uid_mappings.as_slice(), mount.gid_mappings.as_slice());
        let namespace = if uids.is_empty() {
            match container.filter(|_| Options::parse(&mount.options).id_map.is_some()) {
                Some(pid) => namespace_of(proc, pid, Kind::User)?,
                None => continue,
            }
        } else if let Some(known) = made.iter().find(|known| (known.0, known.1) == (uids, gids)) {
            maps[&known.2].try_clone().doing(|| "duplicating a descriptor")?
        } else {
            made.push((uids, gids, number));
            namespace_with(proc, &format!("mounts[{number}]"), uids, gids)?
        };
        maps.insert(number, namespace);
    }
    Ok(maps)
}

/// A user namespace with these mappings, in which no process is left.
fn namespace_with(proc: &Proc, field: &str, uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    let flags = CloneFlags::CLONE_NEWUSER;
    // SAFETY: documented as the condition of `id_maps`.
    let child = match unsafe { clone3(flags, None) }.doing(|| "making a user namespace")? {
        Side::Child => loop {
            // SAFETY: waits for the signal that ends it.
            unsafe { libc::pause() };
        },
        Side::Parent(child) => child,
    };
    let namespace =
        map_ids(proc, child.pid, field, uids, gids).and_then(|()| namespace_of(proc, child.pid, Kind::User));
    let _ = pidfd::signal(child.pidfd.as_fd(), Signal::SIGKILL);
    let _ = pidfd::reap(&child.pidfd);
    namespace
}

fn namespace_of(proc: &Proc, pid: i32, kind: Kind) -> Result<OwnedFd> {
    let doing = || format!("opening the {} namespace of process {pid}", kind.file());
    let dir = PathBuf::from(format!("{pid}/ns"));
    let dir = proc.open(&dir, OFlags::PATH | OFlags::DIRECTORY).doing(doing)?;
    // The last part is a link of the kernel's own, in a directory that was verified.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&dir, kind.file(), flags, Mode::empty()).doing(doing)
}

/// Whether the first process has to wait for something that the runtime does outside once the namespaces are there.
pub(crate) fn is_waited_for(spec: &Spec) -> bool {
    let hooks = spec.hooks.as_ref();
    hooks.is_some_and(|hooks| !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty())
        || spec.linux.as_ref().is_some_and(|linux| !linux.net_devices.is_empty())
}

/// Moves the network devices that the configuration names into the network namespace of a process.
///
/// The caller must have a single thread.
///
/// # Errors
/// Names the device that is missing or cannot be moved.
pub(crate) fn move_devices(linux: &Linux, pid: i32) -> Result<()> {
    if linux.net_devices.is_empty() {
        return Ok(());
    }
    let namespace = namespace_of(&Proc::host()?, pid, Kind::Network)?;
    for (name, device) in &linux.net_devices {
        moved::device(name, device.name(name), &namespace)
            .map_err(|error| Error::new(format!("config.json: linux.netDevices: {name}: {error}")))?;
    }
    Ok(())
}

/// Opens the sources of bind mounts for a process in a new mount namespace of a new user namespace. Empty if the caller
/// may not: then that process has as many rights as the caller.
///
/// The caller must have a single thread.
///
/// # Errors
/// A source cannot be opened.
pub(crate) fn open_sources(
    process: &Child,
    mounts: &[Mount],
    bundle: &Path,
    maps: &IdMaps,
) -> Result<Sources> {
    if !nix::unistd::geteuid().is_root() || !mounts.iter().any(is_bind) {
        return Ok(Sources::new());
    }
    let (ours, theirs) = Channel::pair()?;
    // SAFETY: documented as this function's condition.
    let helper = match unsafe { clone3(CloneFlags::empty(), None) }.doing(|| "cloning a process")? {
        Side::Child => {
            drop(ours);
            let told = match sources::open_all_in(&process.pidfd, mounts, bundle, maps) {
                Ok(opened) => theirs.send(&Message::Ready).and_then(|()| send_sources(&theirs, &opened)),
                Err(error) => theirs.send(&Message::from(&error)),
            };
            // SAFETY: ends this process alone, without running the parent's exit handlers a second time.
            unsafe { libc::_exit(i32::from(told.is_err())) }
        }
        Side::Parent(child) => child,
    };
    drop(theirs);
    let opened = match ours.receive() {
        Ok(Some(Message::Ready)) => receive_sources(&ours, mounts),
        Ok(Some(Message::Failed(kind, reason))) => Err(Error::new(reason).of_kind(kind)),
        Ok(other) => Err(Error::new(format!("the process that opens sources ended too soon ({other:?})"))),
        Err(error) => Err(error),
    };
    let _ = pidfd::reap(&helper.pidfd);
    opened
}

/// Sends sources, or that there are none.
///
/// # Errors
/// The other end is gone.
pub(crate) fn send_sources(channel: &Channel, sources: &Sources) -> Result<()> {
    let files: Vec<_> = sources.values().map(AsFd::as_fd).collect();
    if files.is_empty() {
        return channel.send_files(&[]);
    }
    files.chunks(AT_ONCE).try_for_each(|chunk| channel.send_files(chunk))
}

/// Receives what [`send_sources`] sent: of all bind mounts, or of none.
///
/// # Errors
/// The other end is gone.
pub(crate) fn receive_sources(channel: &Channel, mounts: &[Mount]) -> Result<Sources> {
    let numbers: Vec<usize> =
        mounts.iter().enumerate().filter(|(_, mount)| is_bind(mount)).map(|(number, _)| number).collect();
    let mut files = channel.receive_files()?;
    while !files.is_empty() && files.len() < numbers.len() {
        files.extend(channel.receive_files()?);
    }
    Ok(numbers.into_iter().zip(files).collect())
}
