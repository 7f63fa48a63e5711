//! How containers are asked for: by bundles, or in an engine's words.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::group_name::GroupName;
use super::pid_file::read_pid;
use super::through_engine::ThroughEngine;
use crate::trouble::Trouble;
use subject::{Runtime, Through};

/// How containers are asked for.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// By bundles, of a runtime.
    Runtime(Arc<dyn Runtime>),
    /// By options, of an engine.
    Engine(Arc<ThroughEngine>),
}

impl Way {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Runtime(runtime) => runtime.name(),
            Self::Engine(engine) => engine.name(),
        }
    }

    /// The runtime, for what only a runtime can be asked.
    pub(super) fn runtime(&self, what: &str) -> Result<&Arc<dyn Runtime>, Trouble> {
        match self {
            Self::Runtime(runtime) => Ok(runtime),
            Self::Engine(engine) => {
                Err(Trouble::Skip(format!("{} cannot be asked for {what}", engine.name())))
            }
        }
    }

    /// Whether it mounts a file of its own at a path of each container.
    pub(super) fn gives(&self, path: &str) -> bool {
        let files = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
        matches!(self, Self::Engine(engine) if engine.makes_roots()) && files.contains(&path)
    }

    /// By what the control groups of a container are known.
    pub(super) fn group_name(&self, id: &str) -> Result<GroupName, Trouble> {
        match self {
            Self::Runtime(_) => Ok(GroupName::Whole(id.to_owned())),
            Self::Engine(engine) => engine.group_name(id),
        }
    }

    /// Where a container's root file system is on the host: the bundle's, or what an engine has made of its image.
    pub(super) fn rootfs(&self, bundle: &Path, pid: i32) -> PathBuf {
        match self {
            Self::Engine(engine) if engine.makes_roots() => PathBuf::from(format!("/proc/{pid}/root")),
            Self::Runtime(_) | Self::Engine(_) => bundle.join("rootfs"),
        }
    }

    /// A command.
    pub(super) fn command(
        &self,
        words: &[&str],
        through: Option<&Through>,
        state: &Path,
    ) -> Result<Command, Trouble> {
        match self {
            Self::Engine(engine) => engine.translated(words),
            Self::Runtime(runtime) => {
                let mut command = runtime.command(through, state);
                command.args(words);
                Ok(command)
            }
        }
    }

    /// The first process of a container that runs, as the host sees it.
    pub(super) fn pid(&self, id: &str, pid_file: &Path) -> Result<i32, Trouble> {
        match self {
            Self::Runtime(_) => read_pid(pid_file),
            Self::Engine(engine) => engine.pid(id),
        }
    }
}
