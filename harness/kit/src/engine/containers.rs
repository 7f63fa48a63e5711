//! Images and containers of an engine.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use probe::{Ask, channel};
use serde_json::Value;

use super::daemons::on_host;
use super::fixture::EngineFixture;
use super::layer::Layer;
use crate::patience::wait_within;
use crate::trouble::Trouble;

/// Name of the built-in image in an engine.
pub const BASE: &str = "base";

impl EngineFixture<'_> {
    /// Brings the built-in image in, as `base`.
    ///
    /// # Errors
    /// It cannot be imported.
    pub fn base(&self) -> Result<(), Trouble> {
        let dir = self.directory("image")?;
        self.run.make_rootfs(&dir)?;
        std::fs::create_dir_all(dir.join("bin"))?;
        std::fs::hard_link(dir.join("probe"), dir.join("bin/sh"))?;
        std::fs::write(
            dir.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nsailor:x:1000:1000::/home/sailor:/bin/sh\n",
        )?;
        std::fs::write(dir.join("etc/group"), "root:x:0:\nsailor:x:1000:\ncrew:x:2000:sailor\n")?;
        std::fs::write(dir.join("etc/of-image"), "of the image")?;
        let archive = self.path("image.tar");
        engine::layer::write_tree(&dir, std::io::BufWriter::new(std::fs::File::create(&archive)?))?;
        self.command(&["import", "--change", "CMD [\"/probe\", \"true\"]", &self.text("image.tar"), BASE])?;
        std::fs::remove_file(&archive)?;
        Ok(())
    }

    /// Runs a verb of the probe in a container of an image, which is removed then.
    ///
    /// # Errors
    /// It cannot be started, or the verb failed.
    pub fn run<A: Ask>(&self, flags: &[&str], image: &str, request: A) -> Result<A::Answer, Trouble> {
        let verb = request.words();
        let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
        let words = [&["run", "--rm"], flags, &[image, "/probe"], &verb].concat();
        Ok(channel::printed(request, &self.command(&words)?)?)
    }

    /// Starts a container that stays, and returns its name.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn up(&self, flags: &[&str], image: &str) -> Result<String, Trouble> {
        self.up_with(flags, image, &["/probe", "sleep"])
    }

    /// The same with a command of one's own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn up_with(&self, flags: &[&str], image: &str, command: &[&str]) -> Result<String, Trouble> {
        let name = self.name();
        let words = [&["run", "-d", "--name", &name][..], flags, &[image], command].concat();
        self.command(&words)?;
        Ok(name)
    }

    /// Does a verb of the probe in a running container.
    ///
    /// # Errors
    /// It failed.
    pub fn exec<A: Ask>(&self, container: &str, request: A) -> Result<A::Answer, Trouble> {
        let verb = request.words();
        let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
        let printed = self.command(&[&["exec", container, "/probe"], &verb[..]].concat())?;
        Ok(channel::printed(request, &printed)?)
    }

    /// What `inspect` says at a place of its answer.
    ///
    /// # Errors
    /// There is no such thing.
    pub fn inspect(&self, name: &str, place: &str) -> Result<Value, Trouble> {
        let all: Value = serde_json::from_str(&self.command(&["inspect", name])?)?;
        Ok(all[0].pointer(place).cloned().unwrap_or(Value::Null))
    }

    /// The first process of a running container, as the host sees it: what inspect says, or where the engine's daemon has PIDs of its
    /// own, the same process by the host's.
    ///
    /// # Errors
    /// There is no such container, or it does not run.
    pub fn pid(&self, name: &str) -> Result<i64, Trouble> {
        let told = self.inspect(name, "/State/Pid")?;
        let pid = told.as_i64().filter(|pid| *pid > 0);
        let pid = match &self.daemons {
            Some(daemons) => pid.and_then(|pid| on_host(daemons.pid(), pid)),
            None => pid,
        };
        pid.ok_or_else(|| Trouble::Subject(format!("inspect names no process of {name}, which runs: {told}")))
    }

    /// Waits until a container says a line on its standard output.
    ///
    /// # Errors
    /// It ended before.
    pub fn await_line(&self, container: &str, wanted: &str) -> Result<(), Trouble> {
        let words: Vec<String> = ["logs", "--follow", container].map(str::to_owned).to_vec();
        let mut child = self.prepare(&words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let pid = child.id().cast_signed();
        let watchdog = std::thread::spawn(move || wait_within(pid, "the log"));
        let mut lines = child.stdout.take().map(|out| BufReader::new(out).lines());
        let found =
            lines.as_mut().is_some_and(|lines| lines.any(|line| line.is_ok_and(|line| line == wanted)));
        let _ = child.kill();
        let _ = child.wait();
        let _ = watchdog.join();
        if found { Ok(()) } else { Err(Trouble::Subject(format!("{container} never said '{wanted}'"))) }
    }

    /// The entries of an image's layers, the lowest first, as the saved image has them.
    ///
    /// # Errors
    /// It cannot be saved or read.
    pub fn layers(&self, image: &str) -> Result<Vec<Layer>, Trouble> {
        let file = self.path("saved.tar");
        // Podman adds to no archive.
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
        self.command(&["save", "-o", &self.text("saved.tar"), image])?;
        let dir = self.directory("saved")?;
        tar::Archive::new(std::fs::File::open(&file)?).unpack(&dir)?;
        let manifest: Value = serde_json::from_slice(&std::fs::read(dir.join("manifest.json"))?)?;
        let names = manifest[0]["Layers"].as_array().cloned().unwrap_or_default();
        let layers = names.iter().map(|name| {
            let name = name.as_str().unwrap_or_default();
            Layer::read(&dir.join(name))
        });
        let layers = layers.collect::<Result<_, _>>();
        std::fs::remove_dir_all(&dir)?;
        layers
    }
}
