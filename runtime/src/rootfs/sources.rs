//! What bind mounts show, opened as detached copies of the host's mounts.
//!
//! A container's first process in a user namespace may not be able to look into a directory of the host that only root may
//! enter, and may not map ids of the host's file systems. So there the sources are opened for it, by a process that is still
//! the host's root but stands in the container's mount namespace: the copies then carry the locks that the kernel put on
//! the mounts of that namespace, and spread nothing to the host.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};

use super::attributes::{Recursive, map_ids};
use super::detached::Detached;
use super::options::Options;
use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::Mount;

/// User namespaces whose mappings mounts are shown through, by the number of the mount.
pub type IdMaps = BTreeMap<usize, OwnedFd>;

/// Sources that are open already, by the number of the mount.
pub type Sources = BTreeMap<usize, OwnedFd>;

/// Whether a mount shows a part of the host's tree.
pub fn is_bind(mount: &Mount) -> bool {
    mount.kind.as_deref() == Some("bind")
        || mount.options.iter().any(|option| option == "bind" || option == "rbind")
}

/// Opens the source of a bind mount.
///
/// # Errors
/// It does not exist, or its ids cannot be mapped.
pub(super) fn open(
    wanted: &Mount,
    options: &Options,
    bundle: &Path,
    ids: Option<BorrowedFd<'_>>,
) -> Result<Detached> {
    let source = wanted.source.as_ref().ok_or_else(|| Error::new("a bind mount needs a source"))?;
    let source = bundle.join(source);
    let recursive = options.bind.unwrap_or(Recursive::Yes);
    let tree = Detached::copy(&source, recursive)
        .doing(|| format!("binding {}", source.display()))
        .or_advise(|| "the source of a bind mount must exist on the host")?;
    match (options.id_map, ids) {
        (None, None) => {}
        (recursive, Some(ids)) => map_ids(&tree, ids, recursive.unwrap_or(Recursive::No))?,
        (Some(_), None) => {
            return Err(Error::new("option idmap: there is no mapping")
                .remedy("give the mount uidMappings and gidMappings, or the container a user namespace"));
        }
    }
    Ok(tree)
}

/// Opens the sources of all bind mounts in the mount namespace of the process behind a pidfd, which the caller enters for good.
///
/// # Errors
/// The caller may not enter it, or a source cannot be opened.
pub fn open_all_in(process: &OwnedFd, mounts: &[Mount], bundle: &Path, maps: &IdMaps) -> Result<Sources> {
    setns(process, CloneFlags::CLONE_NEWNS).doing(|| "entering the container's mount namespace")?;
    let mut sources = Sources::new();
    for (number, wanted) in mounts.iter().enumerate().filter(|(_, wanted)| is_bind(wanted)) {
        let options = Options::parse(&wanted.options);
        let ids = maps.get(&number).map(AsFd::as_fd);
        let tree = open(wanted, &options, bundle, ids).map_err(|error| at(number, wanted, &error))?;
        sources.insert(number, tree.into_descriptor());
    }
    Ok(sources)
}

/// An error with the mount's place in `config.json`.
pub(super) fn at(number: usize, wanted: &Mount, error: &Error) -> Error {
    Error::new(format!("config.json: mounts[{number}] ({}): {error}", wanted.destination.display()))
}
