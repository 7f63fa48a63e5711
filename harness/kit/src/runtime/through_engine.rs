//! Containers of a runtime check, asked for in an engine's words.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use runtime::cgroup::{Directories, Group, Layout};
use runtime::oci::Spec;
use serde_json::{Value, json};
use subject::bundle::{self, Request, Unexpressed};
use subject::{Engine, Place, Through, complaint};

use crate::audit;
use crate::engine::{Daemons, on_host};
use crate::fake_host::FakeHost;
use crate::patience::wait_within;
use crate::run::{RUN_VARIABLE, Run};
use crate::shared_engine::Shared;
use crate::shared_engine::label;
use crate::trouble::Trouble;

/// An engine that starts the containers of a runtime check.
#[derive(Debug)]
pub(crate) struct ThroughEngine {
    engine: Arc<dyn Engine>,
    place: Place,
    run: String,
    tag: String,
    dir: PathBuf,
    /// What executes its commands: nothing for a daemon of the user's, which is on the real host.
    through: Option<Through>,
    daemons: Option<Daemons>,
    /// Images that were made.
    images: Mutex<Vec<String>>,
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
        let images = Mutex::default();
        let (engine, run, tag) = (Arc::clone(engine), run.id().to_owned(), tag.to_owned());
        Ok(Self { engine, place, run, tag, dir, through, daemons, images })
    }

    pub(super) fn name(&self) -> &str {
        self.engine.name()
    }

    /// A name that the paths of its containers' groups have.
    pub(super) fn group(&self) -> &str {
        self.place.group()
    }

    /// Whether its daemon is on the real host.
    pub(super) fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    /// A command of the engine, in its own words.
    pub(super) fn own(&self, words: &[String]) -> Command {
        let mut command = self.engine.program().command(self.through.as_ref());
        command.env(RUN_VARIABLE, &self.run).envs(self.engine.variables(&self.place));
        command.args(self.engine.options(&self.place)).args(words);
        command
    }

    /// A command of a runtime, in the engine's words.
    pub(super) fn translated(&self, words: &[&str]) -> Result<Command, Trouble> {
        if let ["run" | "create", "--bundle", bundle, id] = words {
            return self.start(words[0], Path::new(bundle), id);
        }
        Ok(self.own(&bundle::command(words)?))
    }

    /// `run` or `create` of a bundle.
    pub(super) fn start(&self, word: &str, bundle: &Path, id: &str) -> Result<Command, Trouble> {
        let spec: Spec = serde_json::from_slice(&std::fs::read(bundle.join("config.json"))?)?;
        let Request { options, arguments } = bundle::request(&spec, id, &bundle.join("filter.json"))?;
        let image = self.image(&bundle.join("rootfs"), id)?;
        let mut words = vec![word.to_owned(), "--name".into(), id.to_owned()];
        words.extend(["--label".into(), label(&self.run)]);
        if word == "run" {
            words.extend(["-i".into(), "--rm".into()]);
        }
        words.extend(options);
        words.push(image);
        words.extend(arguments);
        Ok(self.own(&words))
    }

    /// The image of a root file system: the built-in one, or one of its own if a check has changed it.
    fn image(&self, rootfs: &Path, id: &str) -> Result<String, Trouble> {
        let name = if is_built_in(rootfs)? { format!("{}-image", self.tag) } else { format!("{id}-image") };
        let mut images = self.images.lock().map_err(|_| Trouble::Harness("a thread panicked".into()))?;
        if !images.contains(&name) {
            let archive = self.dir.join("image.tar");
            engine::layer::write_tree(rootfs, std::io::BufWriter::new(std::fs::File::create(&archive)?))?;
            let change = format!("LABEL {}", label(&self.run));
            let file = archive.display().to_string();
            self.say(&["import", "--change", &change, &file, &name])?;
            std::fs::remove_file(&archive)?;
            images.push(name.clone());
        }
        Ok(name)
    }

    /// Runs a command of the engine's own to its end, and returns what it printed.
    fn say(&self, words: &[&str]) -> Result<String, Trouble> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let child = self.own(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pid = child.id().cast_signed();
        let watchdog = std::thread::spawn(move || wait_within(pid, "the engine's command"));
        let output = child.wait_with_output()?;
        let _ = watchdog.join();
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(Trouble::Subject(format!("{} {}: {}", self.name(), words.join(" "), complaint(&output))))
    }

    /// The state of a container, as a runtime would print it; nothing if there is none.
    pub(super) fn state(&self, id: &str) -> Result<Option<Value>, Trouble> {
        let listed = self.say(&[
            "ps",
            "-a",
            "--no-trunc",
            "--filter",
            &format!("name={id}"),
            "--format",
            "{{.Names}}",
        ])?;
        if !listed.lines().any(|name| name == id) {
            return Ok(None);
        }
        let all: Value = serde_json::from_str(&self.say(&["inspect", "--type", "container", id])?)?;
        let state = &all[0]["State"];
        let status = match state["Status"].as_str().unwrap_or_default() {
            "exited" | "dead" => "stopped",
            other => other,
        };
        let pid = state["Pid"].as_i64().filter(|pid| *pid > 0);
        let pid = match &self.daemons {
            Some(daemons) => pid.and_then(|pid| on_host(daemons.pid(), pid)),
            None => pid,
        };
        Ok(Some(json!({ "id": id, "status": status, "pid": pid.unwrap_or(0) })))
    }

    /// The first process of a container that runs, as the host sees it.
    pub(super) fn pid(&self, id: &str) -> Result<i32, Trouble> {
        let state = self.state(id)?.unwrap_or_default();
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        pid.ok_or_else(|| Trouble::Subject(format!("inspect names no process of {id}, which runs: {state}")))
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

/// The process on the host that is in the PID namespace of `first`, and has this PID there.
pub(super) fn sibling(first: i32, inner: i32) -> Option<i32> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(first)?;
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
        let own = format!("{}-", self.tag);
        if let Ok(all) = self.say(&["ps", "-a", "--format", "{{.Names}}"]) {
            for name in all.lines().filter(|name| name.starts_with(&own)) {
                let _ = self.say(&["rm", "-f", "-v", name]);
            }
        }
        for name in self.images.lock().map(|images| images.clone()).unwrap_or_default() {
            let _ = self.say(&["rmi", &name]);
        }
        if self.daemons.take().is_some()
            && let Ok(layout) = Layout::detect()
        {
            let groups = Directories(audit::cgroups(&layout, self.place.group()));
            let _ = Group::at(&layout, &groups).remove();
            let _ = crate::remove::tree(self.place.short());
        }
    }
}
