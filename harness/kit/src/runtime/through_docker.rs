//! Containers of a runtime check in Docker's words.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use runtime::oci::Spec;
use serde_json::{Value, json};
use subject::bundle::{self, Dialect, Request};

use super::engine_commands::EngineCommands;
use super::group_name::GroupName;
use crate::shared_engine::label;
use crate::trouble::Trouble;

/// In which dialect, and the images that were made.
#[derive(Debug)]
pub(super) struct Images {
    dialect: Dialect,
    made: Mutex<Vec<String>>,
}

/// `run` or `create` of a bundle.
pub(super) fn start(
    commands: &EngineCommands,
    images: &Images,
    word: &str,
    bundle: &Path,
    id: &str,
) -> Result<Command, Trouble> {
    let spec: Spec = serde_json::from_slice(&std::fs::read(bundle.join("config.json"))?)?;
    let Request { options, arguments } =
        bundle::request(&spec, id, &bundle.join("filter.json"), images.dialect)?;
    let image = images.of(commands, &bundle.join("rootfs"), id)?;
    let mut words = vec![word.to_owned(), "--name".into(), id.to_owned()];
    words.extend(["--label".into(), label(&commands.run)]);
    if word == "run" {
        words.extend(["-i".into(), "--rm".into()]);
    }
    if images.dialect == Dialect::Podman {
        // Docker's daemon was told so.
        words.extend(["--cgroup-parent".into(), format!("/{}", commands.place.group())]);
    }
    words.extend(options);
    words.push(image);
    words.extend(arguments);
    Ok(commands.own(&words))
}

/// The state of a container, as a runtime would print it; nothing if there is none.
pub(super) fn state(commands: &EngineCommands, id: &str) -> Result<Option<Value>, Trouble> {
    let filter = format!("name={id}");
    let listed = commands.say(&["ps", "-a", "--no-trunc", "--filter", &filter, "--format", "{{.Names}}"])?;
    if !listed.lines().any(|name| name == id) {
        return Ok(None);
    }
    let all: Value = serde_json::from_str(&commands.say(&["inspect", "--type", "container", id])?)?;
    let state = &all[0]["State"];
    let status = match state["Status"].as_str().unwrap_or_default() {
        "exited" | "dead" => "stopped",
        other => other,
    };
    let pid = state["Pid"].as_i64().and_then(|pid| commands.on_host(pid));
    Ok(Some(json!({ "id": id, "status": status, "pid": pid.unwrap_or(0) })))
}

/// By what its groups are known: the engine's own id, of 64 digits.
pub(super) fn group_name(commands: &EngineCommands, id: &str) -> Result<GroupName, Trouble> {
    let all: Value = serde_json::from_str(&commands.say(&["inspect", "--type", "container", id])?)?;
    let told = all[0]["Id"].as_str().unwrap_or_default().to_owned();
    let is_id = told.len() == 64 && told.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_id {
        Ok(GroupName::Part(told))
    } else {
        Err(Trouble::Subject(format!("inspect tells the id '{told}'")))
    }
}

/// Waits until the engine knows that a container has ended.
pub(super) fn wait(commands: &EngineCommands, id: &str) -> Result<(), Trouble> {
    commands.say(&["wait", id]).map(drop)
}

/// Removes what was made.
pub(super) fn clear(commands: &EngineCommands, images: &Images) {
    let own = format!("{}-", commands.tag);
    if let Ok(all) = commands.say(&["ps", "-a", "--format", "{{.Names}}"]) {
        for name in all.lines().filter(|name| name.starts_with(&own)) {
            let _ = commands.say(&["rm", "-f", "-v", name]);
        }
    }
    for name in images.made.lock().map(|images| images.clone()).unwrap_or_default() {
        let _ = commands.say(&["rmi", &name]);
    }
}

impl Images {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, made: Mutex::default() }
    }

    /// The image of a root file system: the built-in one, or one of its own if a check has changed it.
    fn of(&self, commands: &EngineCommands, rootfs: &Path, id: &str) -> Result<String, Trouble> {
        let name =
            if is_built_in(rootfs)? { format!("{}-image", commands.tag) } else { format!("{id}-image") };
        let mut images = self.made.lock().map_err(|_| Trouble::Harness("a thread panicked".into()))?;
        if !images.contains(&name) {
            let archive = commands.dir.join("image.tar");
            engine::layer::write_tree(rootfs, std::io::BufWriter::new(std::fs::File::create(&archive)?))?;
            let change = format!("LABEL {}", label(&commands.run));
            let file = archive.display().to_string();
            commands.say(&["import", "--change", &change, &file, &name])?;
            std::fs::remove_file(&archive)?;
            images.push(name.clone());
        }
        Ok(name)
    }
}

/// Whether a root file system is the built-in one, as it was made.
fn is_built_in(rootfs: &Path) -> Result<bool, Trouble> {
    let names = ["dev", "etc", "probe", "proc", "sys", "tmp"];
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(rootfs)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && std::fs::read_dir(entry.path())?.next().is_some() {
            return Ok(false);
        }
        found.push(entry.file_name().to_string_lossy().into_owned());
    }
    found.sort_unstable();
    Ok(found == names)
}
