//! One group on every hierarchy, and what can be done with it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::interface::{Interface, Part};
use super::places::{give_to, home, make_dirs, missing};
use super::{Layout, Stats, Version, device_filter, files, v1};
use crate::error::{Doing, Error, Result};
use crate::kernel_file;
use crate::oci::Resources;
use crate::process::pidfd;
use crate::process::signal::Signal;

/// How long to wait for killed processes to be gone before giving up.
const DYING: Duration = Duration::from_secs(10);

/// One group on every hierarchy of the host.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub(super) parts: Vec<Part>,
}

/// The directories of a group, as they are kept in a container's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Directories(pub Vec<PathBuf>);

impl Group {
    /// The group at `path` on every hierarchy: below the root of each if `path` is absolute, else below the
    /// caller's own group. Nothing is made yet.
    ///
    /// # Errors
    /// No hierarchy is mounted, or the path names no group.
    pub fn plan(layout: &Layout, path: &Path) -> Result<Self> {
        if layout.hierarchies.is_empty() {
            return Err(Error::new("no cgroup hierarchy is mounted")
                .remedy("mount -t cgroup2 none /sys/fs/cgroup, or the v1 controllers below it"));
        }
        let own = kernel_file::read("/proc/self/cgroup").doing(|| "reading /proc/self/cgroup")?;
        let mut group = Group::default();
        for hierarchy in &layout.hierarchies {
            let dir = home(layout, hierarchy, &own, path)?;
            group.parts.push(Part { hierarchy: hierarchy.clone(), dir });
        }
        Ok(group)
    }

    /// Makes the planned directories. Existing ones are used if they are empty.
    ///
    /// # Errors
    /// A directory has processes in it or cannot be made (named, with the remedy); nothing stays behind.
    pub fn make(&self) -> Result<()> {
        for (number, part) in self.parts.iter().enumerate() {
            if let Err(error) = make_dirs(&part.hierarchy, &part.dir) {
                let _ = Group { parts: self.parts[..number].to_vec() }.remove();
                return Err(error);
            }
        }
        Ok(())
    }

    /// The same on those hierarchies where the caller may make groups; the others are left out of what is returned.
    ///
    /// # Errors
    /// As of [`Group::make`], but for a lack of rights.
    pub(crate) fn make_where_allowed(self) -> Result<Self> {
        let mut made = Group::default();
        for part in self.parts {
            match make_dirs(&part.hierarchy, &part.dir) {
                Ok(()) => made.parts.push(part),
                Err(error) if matches!(error.errno(), Some(libc::EACCES | libc::EPERM | libc::EROFS)) => {}
                Err(error) => {
                    let _ = made.remove();
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    /// Lets a user make groups below it, on v2: v1 cannot delegate without giving limits away.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn give_to(&self, owner: u32) -> Result<()> {
        let on_v2 = |part: &&Part| part.hierarchy.version == Version::V2;
        self.parts.iter().filter(on_v2).try_for_each(|part| give_to(&part.dir, owner))
    }

    /// The group that a process is in.
    ///
    /// # Errors
    /// The process is gone.
    pub fn of_process(layout: &Layout, pid: i32) -> Result<Self> {
        let path = format!("/proc/{pid}/cgroup");
        let text = kernel_file::read(&path).doing(|| format!("reading {path}"))?;
        let parts = layout
            .hierarchies
            .iter()
            .filter_map(|hierarchy| {
                let dir = hierarchy.dir(layout.group_of(hierarchy, &text)?)?;
                Some(Part { hierarchy: hierarchy.clone(), dir })
            })
            .collect();
        Ok(Group { parts })
    }

    /// The group with these directories, which [`Group::directories`] gave.
    pub fn at(layout: &Layout, directories: &Directories) -> Self {
        let parts = directories
            .0
            .iter()
            .filter_map(|dir| {
                // The longest mount point wins: hierarchies may be mounted below one another.
                let hierarchy = layout
                    .hierarchies
                    .iter()
                    .filter(|hierarchy| dir.starts_with(&hierarchy.mount_point))
                    .max_by_key(|hierarchy| hierarchy.mount_point.as_os_str().len())?;
                Some(Part { hierarchy: hierarchy.clone(), dir: dir.clone() })
            })
            .collect();
        Group { parts }
    }

    /// Its directories, for [`Group::at`].
    pub fn directories(&self) -> Directories {
        Directories(self.parts.iter().map(|part| part.dir.clone()).collect())
    }

    /// Takes the parts of another one in.
    pub(crate) fn extend(&mut self, other: &Group) {
        self.parts.extend_from_slice(&other.parts);
    }

    /// Groups below this one: `PATH` on every hierarchy, or `CONTROLLER[,CONTROLLER]:PATH` on those of v1 with these controllers.
    /// Where none is named it stays this one.
    ///
    /// # Errors
    /// A path leads elsewhere or is no group, or a controller is on no hierarchy.
    pub fn below(&self, wanted: &[String]) -> Result<Self> {
        let mut below = self.clone();
        for text in wanted {
            let (controllers, path) = match text.split_once(':') {
                Some((controllers, path)) => (Some(controllers), Path::new(path)),
                None => (None, Path::new(text)),
            };
            let clean: PathBuf =
                path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
            if path.components().any(|part| part == std::path::Component::ParentDir) {
                return Err(Error::new(format!("--cgroup '{text}' leads out of the container's group")));
            }
            let mut found = false;
            for (part, own) in below.parts.iter_mut().zip(&self.parts) {
                let is_meant =
                    controllers.is_none_or(|names| names.split(',').any(|name| own.hierarchy.owns(name)));
                if is_meant {
                    found = true;
                    part.dir = own.dir.join(&clean);
                    if !part.dir.is_dir() {
                        let dir = part.dir.display();
                        return Err(Error::new(format!(
                            "--cgroup '{text}': {dir}: no such file or directory"
                        )));
                    }
                }
            }
            if !found {
                return Err(Error::new(format!(
                    "--cgroup '{text}': no mounted hierarchy has this controller"
                )));
            }
        }
        Ok(below)
    }

    /// Its directory on each hierarchy.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its directory on the hierarchy that owns a controller.
    pub fn part(&self, controller: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.hierarchy.owns(controller))
    }

    /// Writes limits. Every one that is asked for is either written or refused with an error: none is dropped
    /// because its controller happens to be missing.
    ///
    /// # Errors
    /// A controller that is not there, or a value that the kernel refuses: named with file and field.
    pub fn apply(&self, resources: &Resources) -> Result<()> {
        self.refuse_missing_controllers(resources)?;
        self.write_limits(resources)?;
        self.apply_device_filter(resources)
    }

    /// Writes the limits of those controllers that it has; [`Group::refuse_missing_controllers`] sees to the others.
    pub(crate) fn write_limits(&self, resources: &Resources) -> Result<()> {
        self.write_changes(resources, &mut Changes::default())
    }

    fn write_changes(&self, resources: &Resources, changes: &mut Changes) -> Result<()> {
        self.parts
            .iter()
            .try_for_each(|part| part.hierarchy.version.interface().apply(part, resources, changes))
    }

    /// Changes limits: all of them, or none if one is refused. Device rules stay what they are.
    ///
    /// # Errors
    /// Same errors as [`Group::apply`].
    pub fn change(&self, resources: &Resources) -> Result<()> {
        self.refuse_missing_controllers(resources)?;
        let mut changes = Changes::recorded();
        let outcome = self.write_changes(resources, &mut changes);
        if outcome.is_err() {
            changes.undo();
        }
        outcome
    }

    /// Moves another process, with all its threads, into the group.
    ///
    /// # Errors
    /// The kernel refuses, on the named hierarchy.
    pub fn attach(&self, pid: i32) -> Result<()> {
        self.parts.iter().try_for_each(|part| files::write(&part.dir, "cgroup.procs", &pid.to_string()))
    }

    /// The processes of the group and of the groups below it.
    pub fn processes(&self) -> Vec<i32> {
        let mut found: Vec<i32> =
            self.parts.iter().flat_map(|part| files::processes_below(&part.dir)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Stops every task and returns once all are stopped, or lets them go.
    ///
    /// # Errors
    /// No hierarchy has a freezer, or the tasks did not stop in time.
    pub fn set_frozen(&self, frozen: bool) -> Result<()> {
        let part = self.freezer().ok_or_else(|| {
            Error::new("no cgroup hierarchy has a freezer")
                .remedy("mount the v1 freezer controller, or cgroup2")
        })?;
        part.hierarchy.version.interface().set_frozen(&part.dir, frozen)
    }

    /// Whether every task is stopped.
    pub fn is_frozen(&self) -> bool {
        self.freezer().is_some_and(|part| part.hierarchy.version.interface().is_frozen(&part.dir))
    }

    /// Sends a signal to every process, again and again until no new one appears.
    pub fn signal_all(&self, signal: Signal) {
        let mut signalled = std::collections::BTreeSet::new();
        loop {
            let fresh: Vec<i32> = self.processes().into_iter().filter(|pid| signalled.insert(*pid)).collect();
            if fresh.is_empty() {
                return;
            }
            for pid in fresh {
                let _ = signal.send(pid);
            }
        }
    }

    /// Kills every process and waits until they are gone.
    ///
    /// # Errors
    /// Some did not die (blocked in the kernel).
    pub fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + DYING;
        loop {
            let alive = self.processes();
            if alive.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::new(format!("processes {alive:?} do not die")));
            }
            let waiting: Vec<OwnedFd> = alive.iter().filter_map(|pid| pidfd::open(*pid).ok()).collect();
            let at_once =
                self.parts.iter().any(|part| part.hierarchy.version.interface().kill_at_once(&part.dir));
            if !at_once {
                self.signal_all(Signal::KILL);
                // On v1 a frozen task dies only when it is thawed.
                if let Some(freezer) = self.freezer().filter(|part| part.hierarchy.version == Version::V1) {
                    let _ = v1::V1.set_frozen(&freezer.dir, false);
                }
            }
            for process in waiting {
                pidfd::wait_exit(process.as_fd(), deadline.saturating_duration_since(Instant::now()))?;
            }
        }
    }

    /// What its controllers counted.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for part in &self.parts {
            part.hierarchy.version.interface().count(part, &mut stats);
        }
        stats
    }

    /// Removes the group and all groups below it. What is gone already is fine.
    ///
    /// # Errors
    /// A directory that cannot be removed, because processes are still in it.
    pub fn remove(&self) -> Result<()> {
        self.parts.iter().try_for_each(|part| files::remove_below(&part.dir, DYING))
    }

    /// Removes the group if nothing is in it any more; says whether it is gone. Parts of it may be even if it is not.
    pub fn remove_empty(&self) -> bool {
        let gone = |removed: std::io::Result<()>| match removed {
            Ok(()) => true,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        self.parts.iter().all(|part| gone(std::fs::remove_dir(&part.dir)))
    }

    fn freezer(&self) -> Option<&Part> {
        self.part("freezer")
            .or_else(|| self.parts.iter().find(|part| part.dir.join("cgroup.freeze").exists()))
    }

    /// v2 has no devices controller: a BPF program decides there.
    pub(crate) fn apply_device_filter(&self, resources: &Resources) -> Result<()> {
        if resources.devices.is_empty() || self.part("devices").is_some() {
            return Ok(());
        }
        match self.parts.iter().find(|part| part.hierarchy.version == Version::V2) {
            Some(part) => device_filter::attach(&part.dir, &resources.devices),
            None => Err(missing("devices", "linux.resources.devices")),
        }
    }
}
