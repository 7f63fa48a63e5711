//! What a check of an engine works with: the engine's commands on a stage of their own, with a data root of their own, and the
//! built-in image.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use probe::verbs::net;
use probe::{Ask, channel};
use serde_json::Value;

use crate::container::wait_within;
use crate::fault::{Fault, How};
use crate::notebook::Notebook;
use crate::run::RUN_VARIABLE;
use crate::run::Run;
use crate::stage::Stage;
use crate::trouble::Trouble;
use subject::{Engine, Place, Program};

/// Name of the built-in image in an engine.
pub const BASE: &str = "base";

/// One try of a check against an engine.
#[derive(Debug)]
pub struct Dock<'a> {
    /// What was expected and seen.
    pub seen: Notebook,
    run: &'a Run,
    tag: String,
    dir: PathBuf,
    engine: Arc<dyn Engine>,
    place: Place,
    stage: RefCell<Stage>,
    fault: Option<Fault>,
    count: Cell<u32>,
    tampering: Cell<bool>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit status, 128 + n for signal n.
    pub status: i32,
    /// Its standard output, without the last end of line.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl<'a> Dock<'a> {
    /// Prepares a try. Everything that it makes on the host has `tag` in its name, or lies in its directory.
    ///
    /// # Errors
    /// The run's directory cannot be written, or the stage cannot be set up.
    pub fn new(
        run: &'a Run,
        engine: &Arc<dyn Engine>,
        fault: Option<&Fault>,
        tag: &str,
    ) -> Result<Self, Trouble> {
        let dir = run.dir().join(tag);
        std::fs::create_dir_all(&dir)?;
        let mut stage = Stage::new(run.id())?;
        // As on every host that has been started.
        stage.ask(net::loopback_up())?;
        Ok(Self {
            seen: Notebook::default(),
            run,
            tag: tag.to_owned(),
            place: Place::new(&dir, run.dir().join(format!("{}-run", tag.rsplit('-').next().unwrap_or(tag)))),
            dir,
            engine: Arc::clone(engine),
            stage: RefCell::new(stage),
            fault: fault.copied(),
            count: Cell::new(0),
            tampering: Cell::new(false),
        })
    }

    /// Whether what the check sets up itself is to be broken in this way.
    pub fn has(&self, fault: &str) -> bool {
        self.fault.is_some_and(|known| known.name == fault)
    }

    /// The seed of property checks.
    pub fn seed(&self) -> u64 {
        self.run.seed
    }

    /// A path of the try.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A fresh directory of the try.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf, Trouble> {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// The engine's data root.
    pub fn data(&self) -> PathBuf {
        self.place.data()
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = self.engine.program().command(Some(&self.stage.borrow().through()));
        command.env(RUN_VARIABLE, self.run.id()).envs(self.engine.variables(&self.place));
        command.args(self.engine.options(&self.place)).args(words);
        command
    }

    /// Runs a command of the engine to its end, whatever it says.
    ///
    /// # Errors
    /// It did not end.
    pub fn said(&self, words: &[&str]) -> Result<Said, Trouble> {
        self.said_with(words, Stdio::null())
    }

    /// The same, with a standard input.
    ///
    /// # Errors
    /// It did not end.
    pub fn said_with(&self, words: &[&str], input: Stdio) -> Result<Said, Trouble> {
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        // What a fault does by the engine's own commands is not broken again.
        let how = self.fault.map(|fault| fault.how).filter(|_| !self.tampering.get());
        if let Some(How::Before(tamper)) = how {
            self.tampering.set(true);
            let other = tamper(self, &words);
            self.tampering.set(false);
            if let Some(other) = other? {
                words = other;
            }
        }
        if words.is_empty() {
            return Ok(Said { status: 0, out: String::new(), err: String::new() });
        }
        // By its name it is found and removed, whatever else the engine has.
        let is_named = |word: &String| word == "--name" || word.starts_with("--name=");
        if matches!(words[0].as_str(), "run" | "create") && !words.iter().any(is_named) {
            words.splice(1..1, ["--name".to_owned(), self.name()]);
        }
        let mut command = self.command(&words);
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pid = child.id().cast_signed();
        let watchdog = std::thread::spawn(move || wait_within(pid, "the command"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let errors = child.stderr.take();
        std::thread::scope(|scope| {
            scope.spawn(|| errors.map(|mut errors| errors.read_to_end(&mut err)));
            child.stdout.take().map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut out))
        })?;
        let status = child.wait()?;
        let _ = watchdog.join();
        if let Some(How::After(tamper)) = how {
            self.tampering.set(true);
            let tampered = tamper(self, &words);
            self.tampering.set(false);
            tampered?;
        }
        let code = status
            .code()
            .unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
        let mut said = Said { status: code, out: text(&out), err: text(&err) };
        if let Some(How::Answer(retell)) = how {
            self.tampering.set(true);
            let retold = retell(self, &words, &mut said);
            self.tampering.set(false);
            retold?;
        }
        Ok(said)
    }

    /// Runs a command of the engine that must work, and returns what it printed.
    ///
    /// # Errors
    /// It failed.
    pub fn plim(&self, words: &[&str]) -> Result<String, Trouble> {
        let said = self.said(words)?;
        if said.status == 0 {
            return Ok(said.out);
        }
        let name = self.engine.name();
        Err(Trouble::Subject(format!("{name} {}: {} ({})", words.join(" "), said.err, said.status)))
    }

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
        self.plim(&["import", "--change", "CMD [\"/probe\", \"true\"]", &self.text("image.tar"), BASE])?;
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
        Ok(channel::printed(request, &self.plim(&words)?)?)
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
        self.plim(&words)?;
        Ok(name)
    }

    /// A name for a container that nobody has.
    pub fn name(&self) -> String {
        self.count.set(self.count.get() + 1);
        format!("{}-{}", self.tag, self.count.get())
    }

    /// Does a verb of the probe in a running container.
    ///
    /// # Errors
    /// It failed.
    pub fn exec<A: Ask>(&self, container: &str, request: A) -> Result<A::Answer, Trouble> {
        let verb = request.words();
        let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
        let printed = self.plim(&[&["exec", container, "/probe"], &verb[..]].concat())?;
        Ok(channel::printed(request, &printed)?)
    }

    /// What `inspect` says at a place of its answer.
    ///
    /// # Errors
    /// There is no such thing.
    pub fn inspect(&self, name: &str, place: &str) -> Result<Value, Trouble> {
        let all: Value = serde_json::from_str(&self.plim(&["inspect", name])?)?;
        Ok(all[0].pointer(place).cloned().unwrap_or(Value::Null))
    }

    /// Waits until a container says a line on its standard output.
    ///
    /// # Errors
    /// It ended before.
    pub fn await_line(&self, container: &str, wanted: &str) -> Result<(), Trouble> {
        let words: Vec<String> = ["logs", "--follow", container].map(str::to_owned).to_vec();
        let mut child = self.command(&words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
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

    /// Asks the probe that stands on the stage: the host, as far as containers can tell.
    ///
    /// # Errors
    /// The verb failed.
    pub fn ask_stage<A: Ask>(&self, request: A) -> Result<A::Answer, Trouble> {
        self.stage.borrow_mut().ask(request)
    }

    /// Starts a command of the engine that says nothing; the caller waits for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(&self, words: &[&str]) -> Result<std::process::Child, Trouble> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Ok(self.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// The stage's root directory, as this process sees it: with what is mounted there.
    pub fn stage_root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.stage.borrow().pid()))
    }

    /// Runs a command of the engine whose standard output goes to a file; returns its exit status.
    ///
    /// # Errors
    /// It did not end.
    pub fn said_to(&self, words: &[&str], out: std::fs::File) -> Result<i32, Trouble> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut child = self.command(&words).stdout(out).stderr(Stdio::null()).spawn()?;
        let pid = child.id().cast_signed();
        let watchdog = std::thread::spawn(move || wait_within(pid, "the command"));
        let status = child.wait()?;
        let _ = watchdog.join();
        Ok(status.code().unwrap_or(-1))
    }

    /// A socket on the stage's network, by which this very process can serve something to the engine.
    ///
    /// # Errors
    /// The address is taken, or the stage is gone.
    pub fn listen(&self, address: &str) -> Result<TcpListener, Trouble> {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.stage.borrow().pid()))?;
        // A thread alone goes there: it ends, and the socket stays in that network.
        let listening = std::thread::scope(|scope| {
            let there = scope.spawn(|| -> std::io::Result<TcpListener> {
                nix::sched::setns(&network, nix::sched::CloneFlags::CLONE_NEWNET)?;
                TcpListener::bind(address)
            });
            there.join()
        });
        let listening = listening.map_err(|_| Trouble::Harness("listening on the stage".into()))?;
        Ok(listening?)
    }

    /// Runs a command of the engine with a terminal as its standard output and error, and returns what came out of it.
    ///
    /// # Errors
    /// It did not end.
    pub fn on_terminal(&self, words: &[&str]) -> Result<Vec<u8>, Trouble> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let pair = nix::pty::openpty(None, None)?;
        let mut command = self.command(&words);
        command.stdout(pair.slave.try_clone()?).stderr(pair.slave);
        let mut child = command.spawn()?;
        // What holds the other end, or the end would never be seen.
        drop(command);
        let pid = child.id().cast_signed();
        let watchdog = std::thread::spawn(move || wait_within(pid, "the command"));
        let mut said = Vec::new();
        // A terminal whose last user is gone answers with an error.
        let _ = std::fs::File::from(pair.master).read_to_end(&mut said);
        child.wait()?;
        let _ = watchdog.join();
        Ok(said)
    }

    /// A program of this machine, on the stage.
    pub fn on_stage(&self, program: &Path) -> Command {
        let mut command = Program::at(program).command(Some(&self.stage.borrow().through()));
        command.env(RUN_VARIABLE, self.run.id());
        command
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
        self.plim(&["save", "-o", &self.text("saved.tar"), image])?;
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

impl Drop for Dock<'_> {
    fn drop(&mut self) {
        self.tampering.set(true);
        // An engine that does not keep to the root it was given lists containers of others, too.
        if let Ok(all) = self.said(&["ps", "-a", "--format", "{{.Names}}"]) {
            let own = format!("{}-", self.tag);
            let names: Vec<&str> = all.out.lines().filter(|name| name.starts_with(&own)).collect();
            if !names.is_empty() {
                let _ = self.said(&[&["rm", "-f", "-v"], &names[..]].concat());
            }
        }
        let repair = self.engine.repair();
        if !repair.is_empty() {
            let _ = self.said(repair);
        }
    }
}

/// One layer of a saved image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The paths in it, in order.
    pub paths: Vec<String>,
    /// The address of its bytes.
    pub digest: String,
}

impl Layer {
    fn read(file: &Path) -> Result<Self, Trouble> {
        let bytes = std::fs::read(file)?;
        let digest = engine::image::Digest::of(&bytes).hex().to_owned();
        let plain = engine::image::decompress(bytes.as_slice())?;
        let mut paths = Vec::new();
        for entry in tar::Archive::new(plain).entries()? {
            let path = entry?.path_bytes().escape_ascii().to_string();
            let path = path.trim_start_matches("./").trim_end_matches('/');
            if !path.is_empty() {
                paths.push(path.to_owned());
            }
        }
        Ok(Self { paths, digest })
    }

    /// Whether a path is in it.
    pub fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|known| known == path)
    }
}
