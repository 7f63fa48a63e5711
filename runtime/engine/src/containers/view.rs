//! A container's file system and facts, for those who look at it from outside.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

use super::record::{MountKind, MountPoint, Record};
use super::{Engine, init_layer, watch_lock};
use crate::image::Store;
use crate::layer::{FileId, Node};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use runtime::error::{Doing, Error, Result};
use runtime::overlay::Stack;
use runtime::rootfs::resolve::{Root, by_descriptor};
use runtime::rootfs::switch::make_parent_private;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// A container's root as a path of this process: that of its first process while it runs, volumes included; its layers alone
/// when it does not.
#[derive(Debug)]
pub struct Rooted {
    /// The path.
    pub path: PathBuf,
    /// The root itself: paths of the container are resolved in it, and in nothing else.
    pub root: Root,
    /// A stopped container must not be started while somebody has its layers mounted.
    lock: Option<File>,
}

impl Rooted {
    /// The root as the top of a tree.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn node(&self) -> Result<Node> {
        let top = self.root.as_fd().try_clone_to_owned().doing(|| "duplicating a descriptor")?;
        Node::from_descriptor(top).doing(|| format!("looking at {}", self.path.display()))
    }
}

impl Engine {
    /// Mounts a container's layers where it has its place for them, in the mount namespace of the caller.
    pub(super) fn mount_layers(&self, record: &Record) -> Result<PathBuf> {
        let dir = self.dir(&record.id);
        make_parent_private(&dir)?;
        // Options are bounded by a page, so layers are named relative to their directory.
        let before = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let layers = self.store.layers_dir();
        std::env::set_current_dir(&layers).doing(|| format!("entering {}", layers.display()))?;
        let mut lower = vec![dir.join("init")];
        let layers = Store::stacked(&record.layers);
        lower.extend(layers.into_iter().map(|layer| PathBuf::from(Store::layer_name(layer))));
        let stack = Stack {
            lower,
            upper: Some((dir.join("upper"), dir.join("work"))),
            // A layer must be complete by itself: no pointers to other layers in it.
            options: vec!["redirect_dir=off".into(), "metacopy=off".into()],
        };
        let merged = dir.join("merged");
        let mounted = stack.mount(&merged);
        let _ = std::env::set_current_dir(before);
        mounted.map(|()| merged)
    }

    /// Makes a container's root visible to this process, which must have a single thread.
    ///
    /// # Errors
    /// Its layers cannot be mounted.
    pub fn rooted(&self, record: &Record) -> Result<Rooted> {
        if let Ok(container) = self.running(record) {
            let path = PathBuf::from(format!("/proc/{}/root", container.state().pid));
            let root = Root::open(&path)?;
            // Its number may have become another process's before it was opened.
            self.running(record)?;
            return Ok(Rooted { path, root, lock: None });
        }
        let lock = watch_lock::open(&self.dir(&record.id).join("lock"))?;
        if !watch_lock::hold(&lock)? {
            return Err(Error::new(format!("the files of container '{}' are in use", record.name))
                .remedy("another command looks at them, or it has just been started: try again"));
        }
        unshare(CloneFlags::CLONE_NEWNS).doing(|| "making a mount namespace")?;
        let path = self.mount_layers(record)?;
        Ok(Rooted { root: Root::open(&path)?, path, lock: Some(lock) })
    }

    /// As [`Engine::rooted`], with the container's volumes and bind mounts in their places even if it does not run.
    ///
    /// # Errors
    /// Likewise, or the source of a mount is gone.
    pub fn rooted_with_mounts(&self, record: &Record) -> Result<Rooted> {
        let rooted = self.rooted(record)?;
        if rooted.lock.is_some() {
            self.fill_volumes(record, &rooted.root)?;
            for mount in record.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs) {
                show(&rooted.root, mount).map_err(|error| {
                    Error::new(format!("mount at {}: {error}", mount.destination.display()))
                })?;
            }
        }
        Ok(rooted)
    }

    /// The files of the host that are mounted in a container by its volumes, its bind mounts and the engine.
    pub fn mounted_files(&self, record: &Record) -> HashSet<FileId> {
        let own = init_layer::FILES.iter().map(|file| self.own_file(record, file));
        let sources = record.mounts.iter().map(|mount| mount.source.clone());
        sources.chain(own).filter_map(|path| Node::open(&path).ok()).map(|node| node.id()).collect()
    }

    /// The first time, an empty named volume gets what the image has there.
    pub(super) fn fill_volumes(&self, record: &Record, root: &Root) -> Result<()> {
        for mount in &record.mounts {
            if mount.kind != MountKind::Volume || mount.no_copy {
                continue;
            }
            let Some(name) = &mount.name else { continue };
            if let Ok(found) = root.find(&mount.destination) {
                let node = Node::from_descriptor(found)
                    .doing(|| format!("looking at {}", mount.destination.display()))?;
                if node.is_dir() {
                    self.volumes.find(name)?.copy_up(&node)?;
                }
            }
        }
        Ok(())
    }

    /// Where a container's changes are.
    pub fn upper(&self, record: &Record) -> PathBuf {
        self.dir(&record.id).join("upper")
    }
}

/// Mounts a volume or a path of the host in the root of a container that does not run.
fn show(root: &Root, wanted: &MountPoint) -> Result<()> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let source = open_tree(rustix::fs::CWD, &wanted.source, flags)
        .doing(|| format!("opening {}", wanted.source.display()))?;
    let stat = rustix::fs::fstat(&source).doing(|| format!("looking at {}", wanted.source.display()))?;
    let target = if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        root.ensure_dir(&wanted.destination, 0o755)?
    } else {
        root.ensure_file(&wanted.destination)?
    };
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&source, "", &target, "", both).doing(|| "mounting it")?;
    // The tree's own descriptor now refers to what is mounted here, and no name is needed.
    let here = by_descriptor(&source);
    let change = |flags: MsFlags| {
        mount(None::<&str>, &here, None::<&str>, flags, None::<&str>).doing(|| "setting its flags")
    };
    // What is mounted upon it must not appear on the host.
    change(MsFlags::MS_PRIVATE | MsFlags::MS_REC)?;
    if wanted.writable { Ok(()) } else { change(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY) }
}
