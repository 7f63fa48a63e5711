//! Containers of a runtime check, asked for in an engine's words.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use runtime::cgroup::{Directories, Group, Layout};
use serde_json::Value;
use subject::bundle::{self, Unexpressed};
use subject::{Engine, Place, Words};

use super::engine_commands::EngineCommands;
use super::group_name::GroupName;
use super::through_ctr::{self, Execs};
use super::through_docker::{self, Images};
use crate::audit;
use crate::engine::Daemons;
use crate::fake_host::FakeHost;
use crate::run::Run;
use crate::shared_engine::Shared;
use crate::trouble::Trouble;

/// An engine that starts the containers of a runtime check.
#[derive(Debug)]
pub(crate) struct ThroughEngine {
    commands: EngineCommands,
    speech: Speech,
}

/// In whose words, and what is remembered for them.
#[derive(Debug)]
enum Speech {
    Docker(Images),
    Ctr(Execs),
}

/// An engine that cannot be asked for something is not wrong.
impl From<Unexpressed> for Trouble {
    fn from(unexpressed: Unexpressed) -> Self {
        Self::Skip(unexpressed.to_string())
    }
}

impl ThroughEngine {
    /// Prepares an engine on a fake host, with its daemons; one that is shared is left where it is.
    pub(super) fn new(
        run: &Run,
        engine: &Arc<dyn Engine>,
        host: &FakeHost,
        tag: &str,
    ) -> Result<Self, Trouble> {
        let dir = run.dir().join(tag);
        let short = run.dir().join(format!("{}-run", tag.rsplit('-').next().unwrap_or(tag)));
        let place = Place::new(&dir, short, format!("{tag}-engine"));
        let speech = match engine.words() {
            Some(Words::Options(dialect)) => Speech::Docker(Images::new(dialect)),
            Some(Words::Ctr) => Speech::Ctr(Execs::default()),
            None => return Err(Trouble::Harness(format!("{} starts no bundles", engine.name()))),
        };
        let services = engine.services(&place)?;
        let daemons = if services.is_empty() {
            None
        } else {
            Some(Daemons::start(run.id(), host.pid(), &crate::run::base(), &services)?)
        };
        let through = (!engine.is_shared()).then(|| host.through());
        if engine.is_shared() {
            Shared::of(engine.as_ref(), &place).remember(run)?;
        }
        let (engine, run, tag) = (Arc::clone(engine), run.id().to_owned(), tag.to_owned());
        Ok(Self { commands: EngineCommands { engine, place, run, tag, dir, through, daemons }, speech })
    }

    pub(super) fn name(&self) -> &str {
        self.commands.name()
    }

    /// Whether its daemon is on the real host.
    pub(super) fn is_shared(&self) -> bool {
        self.commands.engine.is_shared()
    }

    /// Whether the root file system of a container is one that the engine makes, with files of its own at some paths.
    pub(super) fn makes_roots(&self) -> bool {
        matches!(self.speech, Speech::Docker(_))
    }

    /// A command of a runtime, in the engine's words.
    pub(super) fn translated(&self, words: &[&str]) -> Result<Command, Trouble> {
        if let ["run" | "create", "--bundle", bundle, id] = words {
            return self.start(words[0], Path::new(bundle), id);
        }
        match &self.speech {
            Speech::Docker(_) => Ok(self.commands.own(&bundle::command(words)?)),
            Speech::Ctr(execs) => through_ctr::translated(&self.commands, execs, words),
        }
    }

    /// `run` or `create` of a bundle.
    pub(super) fn start(&self, word: &str, bundle: &Path, id: &str) -> Result<Command, Trouble> {
        match &self.speech {
            Speech::Docker(images) => through_docker::start(&self.commands, images, word, bundle, id),
            Speech::Ctr(_) => through_ctr::start(&self.commands, word, bundle, id),
        }
    }

    /// The state of a container, as a runtime would print it; nothing if there is none.
    pub(super) fn state(&self, id: &str) -> Result<Option<Value>, Trouble> {
        match &self.speech {
            Speech::Docker(_) => through_docker::state(&self.commands, id),
            Speech::Ctr(_) => through_ctr::state(&self.commands, id),
        }
    }

    /// By what the groups of a container are known.
    pub(super) fn group_name(&self, id: &str) -> Result<GroupName, Trouble> {
        match &self.speech {
            Speech::Docker(_) => through_docker::group_name(&self.commands, id),
            // It was asked for these groups.
            Speech::Ctr(_) => Ok(GroupName::Whole(id.to_owned())),
        }
    }

    /// Waits until a container has ended, and the engine knows it.
    pub(super) fn wait(&self, id: &str) -> Result<(), Trouble> {
        match &self.speech {
            Speech::Docker(_) => through_docker::wait(&self.commands, id),
            Speech::Ctr(_) => through_ctr::wait(&self.commands, id),
        }
    }

    /// The first process of a container that runs, as the host sees it.
    pub(super) fn pid(&self, id: &str) -> Result<i32, Trouble> {
        let state = self.state(id)?.unwrap_or_default();
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        pid.ok_or_else(|| {
            Trouble::Subject(format!("{} names no process of {id}, which runs: {state}", self.name()))
        })
    }
}

/// The process on the host that is in the PID namespace of `first`, and has this PID there.
pub(super) fn sibling(first: i32, inner: i32) -> Option<i32> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted: PathBuf = namespace(first)?;
    let last = |pid: i32| -> Option<i32> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.to_owned();
        line.split_whitespace().last()?.parse().ok()
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| last(*pid) == Some(inner) && namespace(*pid).as_ref() == Some(&wanted))
}

impl Drop for ThroughEngine {
    fn drop(&mut self) {
        match &self.speech {
            Speech::Docker(images) => through_docker::clear(&self.commands, images),
            Speech::Ctr(_) => through_ctr::clear(&self.commands),
        }
        drop(self.commands.daemons.take());
        if let (false, Ok(layout)) = (self.is_shared(), Layout::detect()) {
            let groups = Directories(audit::cgroups(&layout, self.commands.place.group()));
            let _ = Group::at(&layout, &groups).remove();
            let _ = crate::remove::tree(self.commands.place.short());
        }
    }
}
