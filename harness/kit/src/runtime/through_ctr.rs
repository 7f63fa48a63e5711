//! Containers of a runtime check in the words of containerd's `ctr`.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use runtime::process::pidfd;
use serde_json::{Value, json};
use subject::bundle;

use super::engine_commands::EngineCommands;
use crate::patience::{PATIENCE, wait_within};
use crate::trouble::Trouble;

/// Numbers of further processes: each needs a name of its own.
#[derive(Debug, Default)]
pub(super) struct Execs(AtomicU32);

/// `run` or `create` of a bundle.
pub(super) fn start(
    commands: &EngineCommands,
    word: &str,
    place: &Path,
    id: &str,
) -> Result<Command, Trouble> {
    let document: Value = serde_json::from_slice(&std::fs::read(place.join("config.json"))?)?;
    let file = place.join("ctr.json");
    std::fs::write(&file, bundle::by_ctr::config(document, place)?.to_string())?;
    let file = file.display().to_string();
    if word == "create" {
        return Ok(commands.own(&["containers", "create", "--config", &file, id]));
    }
    Ok(commands.own(&["run", "--rm", "--fifo-dir", &fifos(commands)?, "--config", &file, id]))
}

/// Where both the client, on the host, and the daemon, with a /run of its own, find the pipes of a container.
fn fifos(commands: &EngineCommands) -> Result<String, Trouble> {
    let dir = commands.place.path("fifos");
    std::fs::create_dir_all(&dir)?;
    Ok(dir.display().to_string())
}

/// A command of a runtime; what it takes more than one of containerd's for is done up to the last.
pub(super) fn translated(
    commands: &EngineCommands,
    execs: &Execs,
    words: &[&str],
) -> Result<Command, Trouble> {
    let number = execs.0.fetch_add(1, Ordering::Relaxed);
    let exec = bundle::by_ctr::Exec { id: format!("exec-{number}"), fifos: fifos(commands)?.into() };
    let mut all = bundle::by_ctr::commands(words, &exec)?;
    let last = all.pop().unwrap_or_default();
    for before in &all {
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        // A task that has ended by itself is not there.
        let _ = commands.say(&before);
    }
    Ok(commands.own(&last))
}

/// The state of a container, as a runtime would print it; nothing if there is none.
pub(super) fn state(commands: &EngineCommands, id: &str) -> Result<Option<Value>, Trouble> {
    if !commands.say(&["containers", "list", "--quiet"])?.lines().any(|name| name == id) {
        return Ok(None);
    }
    let listed = commands.say(&["tasks", "list"])?;
    let task = listed.lines().skip(1).find_map(|line| {
        let [name, pid, status] = line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
        (name == id).then(|| (pid.parse::<i64>().unwrap_or(0), status.to_lowercase()))
    });
    // A container without a task is one that was made and not started.
    let (pid, status) = task.unwrap_or((0, "created".to_owned()));
    let pid = commands.on_host(pid).unwrap_or(0);
    Ok(Some(json!({ "id": id, "status": status, "pid": pid })))
}

/// Waits until a container has ended, and containerd knows it: `ctr` has no command that waits.
pub(super) fn wait(commands: &EngineCommands, id: &str) -> Result<(), Trouble> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = state(commands, id)?;
        let state = state.ok_or_else(|| Trouble::Subject(format!("{}: no {id}", commands.name())))?;
        if state["status"] == "stopped" {
            return Ok(());
        }
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        match pid {
            Some(pid) if pidfd::open(pid).is_ok() => wait_within(pid, "the application")?,
            // The process is gone, and its task is listed as it was for a moment.
            _ if Instant::now() < deadline => {}
            _ => {
                return Err(Trouble::Subject(format!(
                    "{} does not see that {id} has ended: {state}",
                    commands.name()
                )));
            }
        }
    }
}

/// Removes what was made.
pub(super) fn clear(commands: &EngineCommands) {
    let own = format!("{}-", commands.tag);
    if let Ok(all) = commands.say(&["containers", "list", "--quiet"]) {
        for name in all.lines().filter(|name| name.starts_with(&own)) {
            let _ = commands.say(&["tasks", "delete", "--force", name]);
            let _ = commands.say(&["containers", "delete", name]);
        }
    }
}
