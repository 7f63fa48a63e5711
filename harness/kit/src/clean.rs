//! Removing what a killed run left: found from names alone, so that nothing need have been written down.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use runtime::cgroup::{Directories, Group, Layout};
use runtime::process::pidfd;
use serde::Deserialize;

use crate::audit;
use crate::run::{Beginning, PREFIX, Run, base};
use crate::shared_engine::Shared;

/// How long processes may take to die.
const DYING: Duration = Duration::from_secs(10);

/// Removes everything of every run that is no longer alive; says what was removed, and what could not be.
///
/// # Errors
/// The cgroup layout cannot be read.
pub fn clean() -> runtime::error::Result<(Vec<String>, Vec<String>)> {
    let layout = Layout::detect()?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for run in dead_runs(&layout) {
        remove_run(&layout, &run, &mut done, &mut failed);
    }
    Ok((done, failed))
}

fn remove_run(layout: &Layout, run: &str, done: &mut Vec<String>, failed: &mut Vec<String>) {
    let dir = base().join(run);
    remove_traces(layout, run, &dir, done, failed);
    if dir.exists() {
        note(crate::remove::tree(&dir), format!("directory {}", dir.display()), done, failed);
    }
}

/// Removes processes, groups and mounts of a run, and leaves its directory.
fn remove_traces(layout: &Layout, run: &str, dir: &Path, done: &mut Vec<String>, failed: &mut Vec<String>) {
    done.extend(kill(layout, run, failed));
    if let Some(engine) = Shared::read(dir) {
        engine.remove(run, done, failed);
    }
    let name = format!("{PREFIX}{run}-");
    for group in audit::cgroups(layout, &name) {
        let removed = Group::at(layout, &Directories(vec![group.clone()])).remove();
        note(removed, format!("cgroup {}", group.display()), done, failed);
    }
    for group in groups_of_engines(dir) {
        let removed = Group::at(layout, &Directories(vec![group.clone()])).remove();
        note(removed, format!("cgroup {}", group.display()), done, failed);
    }
    for point in audit::mounts_below(dir) {
        let removed = umount2(&point, MntFlags::MNT_DETACH);
        note(removed, format!("mount {}", point.display()), done, failed);
    }
}

/// Kills the processes of a run that goes on but was told to end: its checks then end by themselves, and clean up.
pub fn end_processes(run: &str) {
    for pid in audit::processes(run) {
        if let Ok(process) = pidfd::open(pid) {
            let _ = pidfd::signal(process.as_fd(), Signal::SIGKILL);
        }
    }
}

/// Removes the groups and mounts that a try left, after they were noted.
pub fn sweep_try(layout: &Layout, tag: &str) {
    let groups = Directories(audit::cgroups(layout, &format!("{tag}-")));
    let group = Group::at(layout, &groups);
    let _ = group.kill();
    let _ = group.remove();
    for point in audit::mounts(tag).into_iter().filter(|point| audit::is_of_try(point, tag)) {
        let _ = umount2(&point, MntFlags::MNT_DETACH);
    }
}

/// Removes all that a run which was told to end has left beside its directory, and says what could not be removed.
pub fn sweep_run(run: &Run) -> Vec<String> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    remove_traces(&run.layout, run.id(), run.dir(), &mut done, &mut failed);
    failed
}

/// What an engine's runtime writes down of a container, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
struct ContainerState {
    #[serde(default)]
    cgroups: Vec<PathBuf>,
}

/// Control groups of an engine's containers, as the engine has written them down in the run's directory.
fn groups_of_engines(dir: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut groups = Vec::new();
    for state in entries(dir).flat_map(|attempt| entries(&attempt.join("data/run"))) {
        let text = fs::read(state.join("state.json")).unwrap_or_default();
        // Half a file is that of a container whose groups were not made yet.
        let state: ContainerState = serde_json::from_slice(&text).unwrap_or_default();
        groups.extend(state.cgroups.into_iter().filter(|dir| dir.exists()));
    }
    groups
}

fn note<E: std::fmt::Display>(
    removed: Result<(), E>,
    what: String,
    done: &mut Vec<String>,
    failed: &mut Vec<String>,
) {
    match removed {
        Ok(()) => done.push(what),
        Err(error) => failed.push(format!("{what}: {error}")),
    }
}

/// Runs of which something is left and whose lock nobody holds.
fn dead_runs(layout: &Layout) -> BTreeSet<String> {
    let _none_begins = Beginning::none();
    let mut runs: BTreeSet<String> = fs::read_dir(base())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    for group in audit::cgroups(layout, PREFIX) {
        let name = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(run) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) {
            runs.insert(run.to_owned());
        }
    }
    runs.retain(|run| !is_alive(run));
    runs
}

fn is_alive(run: &str) -> bool {
    let Ok(lock) = File::open(base().join(run).join("lock")) else { return false };
    matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
}

/// Kills the run's processes until none is found any more: a runtime caught half-way may still start some.
fn kill(layout: &Layout, run: &str, failed: &mut Vec<String>) -> Vec<String> {
    let name = format!("{PREFIX}{run}-");
    let mut done = Vec::new();
    let deadline = Instant::now() + DYING;
    loop {
        let groups = Directories(audit::cgroups(layout, &name));
        let group = Group::at(layout, &groups);
        // A frozen process on v1 dies only when it is thawed.
        let _ = group.parts().iter().try_for_each(|part| thaw(layout, part.dir.clone()));
        let mut alive = audit::processes(run);
        alive.extend(group.processes());
        if alive.is_empty() {
            return done;
        }
        if Instant::now() > deadline {
            failed.push(format!("processes {alive:?} do not die"));
            return done;
        }
        for pid in alive {
            let Ok(process) = pidfd::open(pid) else { continue };
            let _ = pidfd::signal(process.as_fd(), Signal::SIGKILL);
            let _ = pidfd::wait_exit(process.as_fd(), deadline.saturating_duration_since(Instant::now()));
            done.push(format!("process {pid}"));
        }
    }
}

fn thaw(layout: &Layout, dir: PathBuf) -> runtime::Result<()> {
    let group = Group::at(layout, &Directories(vec![dir]));
    if group.is_frozen() { group.set_frozen(false) } else { Ok(()) }
}
