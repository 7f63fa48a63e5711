//! The mounts of a container: each is made detached, and then attached to a descriptor that was resolved inside the root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat};

use super::attributes::Recursive;
use super::cgroupfs;
use super::copy_up::{self, Said};
use super::detached::{Attached, Detached, FileSystem, change_attached};
use super::guard::{self, Place};
use super::layers::Layers;
use super::options::Options;
use super::proc::Proc;
use super::resolve::Root;
use super::sources::{self, Sources, is_bind};
use super::surroundings::Surroundings;
use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::Mount;

/// The mounts of a container while they are made.
#[derive(Debug)]
pub struct Mounts<'a> {
    root: &'a Root,
    around: &'a Surroundings<'a>,
    sources: Sources,
    /// The container's own procfs, by the descriptor of its mount.
    proc: Option<Proc>,
    /// What was bound: device and inode of each.
    bound: Vec<(u64, u64)>,
    /// A new /dev is filled before it becomes read-only.
    dev: Option<Attached>,
}

impl<'a> Mounts<'a> {
    /// Begins. `sources` are those of bind mounts that were opened before, in a place with more rights.
    pub fn new(root: &'a Root, around: &'a Surroundings<'a>, sources: Sources) -> Self {
        Self { root, around, sources, proc: None, bound: Vec::new(), dev: None }
    }

    /// Makes one mount.
    ///
    /// # Errors
    /// Names the mount by its number in `config.json` and its destination.
    pub fn make(&mut self, number: usize, wanted: &Mount) -> Result<()> {
        self.one(number, wanted).map_err(|error| sources::at(number, wanted, &error))
    }

    /// The procfs that was mounted at /proc, if one was.
    pub fn proc(&self) -> Option<&Proc> {
        self.proc.as_ref()
    }

    /// Whether a directory is one that was bound, by whatever name: an image can lead a mount for `/host/dev` to /dev by a link.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn is_bound(&self, dir: &impl AsFd) -> Result<bool> {
        let stat = fstat(dir).doing(|| "looking at a directory")?;
        Ok(self.bound.contains(&(stat.st_dev, stat.st_ino)))
    }

    /// Does what could not be done before device nodes were made.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn finish(&self) -> Result<()> {
        match &self.dev {
            Some(dev) => dev
                .change(super::attributes::Attributes::READ_ONLY)
                .map_err(|error| Error::new(format!("config.json: mounts: making /dev read-only: {error}"))),
            None => Ok(()),
        }
    }

    fn one(&mut self, number: usize, wanted: &Mount) -> Result<()> {
        let options = Options::parse(&wanted.options);
        let place = guard::place(&wanted.destination)?;
        let bind = is_bind(wanted);
        let maps =
            options.id_map.is_some() || !wanted.uid_mappings.is_empty() || !wanted.gid_mappings.is_empty();
        if maps && !bind {
            return Err(Error::new("ids can be mapped for bind mounts alone")
                .remedy("drop idmap, uidMappings and gidMappings"));
        }
        if bind {
            self.bind(number, wanted, &options, place)
        } else if options.remount {
            let target = self.root.find(&wanted.destination)?;
            change_attached(&target, options.attributes).or_advise(|| "is anything mounted there?")
        } else if is_cgroup(wanted) {
            if place != Place::Ordinary {
                return Err(Error::new("control groups are not shown there"));
            }
            let target = self.directory(&wanted.destination, place)?;
            cgroupfs::make(&target, &options, self.around)
        } else {
            self.fresh(wanted, &options, place)
        }
    }

    fn bind(&mut self, number: usize, wanted: &Mount, options: &Options, place: Place) -> Result<()> {
        if let Some(word) = options.foreign_to_bind() {
            return Err(Error::new(format!("unknown option '{word}' for a bind mount")).remedy(
                "a bind mount has attributes of its own, but not options of a file system; is it misspelt?",
            ));
        }
        let mut tree = match self.sources.remove(&number) {
            Some(opened) => Detached::from_descriptor(opened),
            None => {
                let ids = self.around.id_maps.get(&number).map(AsFd::as_fd);
                sources::open(wanted, options, self.around.bundle, ids)?
            }
        };
        let stat = fstat(&tree).doing(|| "looking at the source")?;
        self.bound.push((stat.st_dev, stat.st_ino));
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let target = match place {
            Place::Proc => {
                guard::is_whole_proc(&tree)?;
                self.directory(&wanted.destination, place)?
            }
            Place::Emulated => guard::emulated(self.root, &wanted.destination)?,
            Place::ByName | Place::Ordinary if is_dir => self.directory(&wanted.destination, place)?,
            Place::ByName | Place::Ordinary => self.root.ensure_file(&wanted.destination)?,
        };
        guard::check(place, &target)?;
        // First for all, then for this one alone.
        tree.change(options.below, Recursive::Yes)?;
        tree.change(options.attributes, Recursive::No)?;
        let mounted = tree.attach(&target)?;
        if options.propagation.is_empty() {
            // Without a word a bind mount must not receive what the host mounts later.
            mounted.propagate(nix::mount::MsFlags::MS_PRIVATE | nix::mount::MsFlags::MS_REC)?;
        }
        options.propagation.iter().try_for_each(|kind| mounted.propagate(*kind))
    }

    fn fresh(&mut self, wanted: &Mount, options: &Options, place: Place) -> Result<()> {
        let kind = wanted.kind.as_deref().unwrap_or("none");
        if place == Place::Emulated || (place == Place::Proc && kind != "proc") {
            return Err(Error::new(format!("a {kind} cannot be mounted there"))
                .remedy("/proc is for a mount of type proc, and files in it are replaced by bind mounts"));
        }
        if options.copy_up && kind != "tmpfs" {
            return Err(Error::new(format!("option 'tmpcopyup' is for a tmpfs, not for a {kind}")));
        }
        // A mount point that was there says which mode a tmpfs has; a new one says nothing, and the kernel's 1777 holds.
        let covers = kind != "tmpfs" || self.root.find(&wanted.destination).is_ok();
        let target = if matches!(kind, "proc" | "sysfs") {
            // Masked and read-only paths below them are found by name later, and so must mean these very mounts.
            self.directory(&wanted.destination, Place::ByName)?
        } else {
            self.directory(&wanted.destination, place)?
        };
        guard::check(place, &target)?;
        let read_only = options.attributes.set & libc::MOUNT_ATTR_RDONLY != 0;
        let fills_later = read_only && guard::is_dev(&wanted.destination);
        let mut mount = self.file_system(wanted, kind, options, covers.then_some(&target), fills_later)?;
        if options.copy_up {
            let has = |option: &str| options.data.iter().any(|(name, _)| name == option);
            copy_up::copy(&target, &mount, Said { mode: has("mode"), uid: has("uid"), gid: has("gid") })?;
        }
        let mut attributes = options.attributes;
        if fills_later {
            attributes.set &= !libc::MOUNT_ATTR_RDONLY;
        }
        if options.copy_up || !options.below.is_empty() {
            attributes.add(options.below);
            mount.change(attributes, Recursive::No)?;
        }
        let mounted = mount.attach(&target)?;
        options.propagation.iter().try_for_each(|kind| mounted.propagate(*kind))?;
        if place == Place::Proc {
            self.proc = Some(Proc::verify(mounted.into_descriptor())?);
        } else if fills_later {
            self.dev = Some(mounted);
        }
        Ok(())
    }

    fn file_system(
        &self,
        wanted: &Mount,
        kind: &str,
        options: &Options,
        covered: Option<&OwnedFd>,
        fills_later: bool,
    ) -> Result<Detached> {
        let file_system = FileSystem::new(kind)?;
        let source = wanted.source.clone().unwrap_or_else(|| PathBuf::from(kind));
        file_system.value("source", &source)?;
        let mut layers = Layers::default();
        for (name, value) in &options.data {
            match value {
                Some(value) if kind == "overlay" && layers.set(&file_system, name, value)? => {}
                Some(value) => file_system.value(name, value)?,
                None => file_system.flag(name)?,
            }
        }
        if let Some(covered) = covered.filter(|_| kind == "tmpfs" && !options.has_data("mode")) {
            let mode = fstat(covered).doing(|| "reading the mount point's mode")?.st_mode & 0o7777;
            file_system.value("mode", format!("{mode:o}"))?;
        }
        if let Some(label) = self.around.label.filter(|_| !matches!(kind, "proc" | "sysfs")) {
            file_system
                .value("context", label)
                .map_err(|error| Error::new(format!("config.json: linux.mountLabel: {error}")))?;
        }
        for flag in &options.file_system {
            file_system.flag(flag)?;
        }
        let mut attributes = options.attributes.set;
        if options.copy_up || fills_later {
            attributes &= !libc::MOUNT_ATTR_RDONLY;
        } else if attributes & libc::MOUNT_ATTR_RDONLY != 0 {
            // As mount(2) does: the file system, too, and not just its mount.
            file_system.flag("ro")?;
        }
        file_system.mount(attributes)
    }

    /// A directory to mount on. Those that a container finds by name may be no links.
    fn directory(&self, destination: &Path, place: Place) -> Result<OwnedFd> {
        if place == Place::Ordinary {
            return self.root.ensure_dir(destination, 0o755);
        }
        match self.root.find_no_links(destination) {
            Ok(found) => self.root.check_directory(found, destination),
            Err(error) if error.errno() == Some(libc::ENOENT) => {
                self.root.ensure_dir(destination, 0o755)?;
                self.root.find_no_links(destination)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a mount shows control groups.
pub fn is_cgroup(wanted: &Mount) -> bool {
    matches!(wanted.kind.as_deref(), Some("cgroup" | "cgroup2"))
}
