//! Control groups of a kernel check.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use runtime::cgroup::{Group, Layout, Version};

use super::fixture::KernelFixture;
use crate::measure::counted;
use crate::probes::Probe;
use crate::trouble::Trouble;

/// A group on every hierarchy, removed with its processes when dropped. A child must be dropped before its parent.
#[derive(Debug)]
pub struct Cell {
    group: Group,
    path: PathBuf,
    layout: Layout,
}

impl KernelFixture {
    /// Makes a group for the check.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn cell(&self, name: &str) -> Result<Cell, Trouble> {
        let path = Path::new("/").join(format!("{}-{name}", self.tag()));
        Cell::make(Layout::detect()?, path)
    }
}

impl Cell {
    fn make(layout: Layout, path: PathBuf) -> Result<Self, Trouble> {
        let group = Group::plan(&layout, &path)?;
        group.make()?;
        Ok(Self { group, path, layout })
    }

    /// Makes a group below it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn child(&self, name: &str) -> Result<Cell, Trouble> {
        // On 5.10 and before, v1 groups hold their children's memory only if told so.
        if let Ok(dir) = self.dir("memory") {
            let _ = fs::write(dir.join("memory.use_hierarchy"), "1");
        }
        Self::make(self.layout.clone(), self.path.join(name))
    }

    /// Its directory on the hierarchy that owns a controller.
    ///
    /// # Errors
    /// None does.
    pub fn dir(&self, controller: &str) -> Result<&Path, Trouble> {
        let part = self.group.part(controller);
        part.map(|part| part.dir.as_path())
            .ok_or_else(|| Trouble::Skip(format!("no controller '{controller}'")))
    }

    /// Its directory on the v2 hierarchy.
    ///
    /// # Errors
    /// There is none.
    pub fn v2(&self) -> Result<&Path, Trouble> {
        let part = self.group.parts().iter().find(|part| part.hierarchy.version == Version::V2);
        part.map(|part| part.dir.as_path())
            .ok_or_else(|| Trouble::Skip("no cgroup2 hierarchy is mounted".into()))
    }

    /// Which version has a controller.
    pub fn is_v2(&self, controller: &str) -> bool {
        self.group.part(controller).is_some_and(|part| part.hierarchy.version == Version::V2)
    }

    /// The group as the core knows it.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Writes a limit: the first pair's file and value on v1, the second's on v2.
    ///
    /// # Errors
    /// The kernel refuses, or has no such file.
    pub fn set(&self, controller: &str, v1: (&str, &str), v2: (&str, &str)) -> Result<(), Trouble> {
        let (file, value) = if self.is_v2(controller) { v2 } else { v1 };
        let path = self.dir(controller)?.join(file);
        fs::write(&path, value).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                Trouble::Skip(format!("this kernel has no {file}"))
            }
            _ => Trouble::Harness(format!("writing '{value}' to {}: {error}", path.display())),
        })
    }

    /// Limits memory, and allows no swap beyond.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn limit_memory(&self, bytes: u64) -> Result<(), Trouble> {
        let text = bytes.to_string();
        self.set("memory", ("memory.limit_in_bytes", &text), ("memory.max", &text))?;
        let dir = self.dir("memory")?;
        for (file, value) in [("memory.memsw.limit_in_bytes", text.as_str()), ("memory.swap.max", "0")] {
            if dir.join(file).exists() {
                fs::write(dir.join(file), value)?;
            }
        }
        Ok(())
    }

    /// Limits CPU time, in microseconds.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn limit_cpu(&self, quota: u64, period: u64) -> Result<(), Trouble> {
        if !self.is_v2("cpu") {
            fs::write(self.dir("cpu")?.join("cpu.cfs_period_us"), period.to_string())?;
        }
        self.set("cpu", ("cpu.cfs_quota_us", &quota.to_string()), ("cpu.max", &format!("{quota} {period}")))
    }

    /// An entry of a file of `key value` lines.
    ///
    /// # Errors
    /// No hierarchy has the controller, or this kernel's file has no such entry.
    pub fn keyed(&self, controller: &str, file: &str, key: &str) -> Result<u64, Trouble> {
        let text = fs::read_to_string(self.dir(controller)?.join(file))?;
        let found =
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok());
        found.ok_or_else(|| Trouble::Skip(format!("this kernel's {file} has no '{key}'")))
    }

    /// Memory charged to it, in bytes.
    ///
    /// # Errors
    /// No hierarchy accounts memory.
    pub fn memory_usage(&self) -> Result<u64, Trouble> {
        counted(self.group.stats().memory_usage, "memory")
    }

    /// Starts a probe in it.
    ///
    /// # Errors
    /// It cannot be started or does not get in.
    pub fn probe(&self) -> Result<Probe, Trouble> {
        let files: Vec<PathBuf> =
            self.group.parts().iter().map(|part| part.dir.join("cgroup.procs")).collect();
        Probe::start_after(move || files.iter().try_for_each(|file| fs::write(file, "0")))
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let _ = self.group.kill();
        let _ = self.group.remove();
    }
}
