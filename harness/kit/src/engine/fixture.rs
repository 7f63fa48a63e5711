//! What a check of an engine works with: the engine's commands on a fake host of their own, with a data root of their own, and the
//! built-in image.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use probe::verbs::net;
use runtime::cgroup::{Directories, Group};

use super::daemons::Daemons;
use super::output::Output;
use crate::audit;
use crate::fake_host::FakeHost;
use crate::mutate::Tap;
use crate::notebook::Notebook;
use crate::patience::{unless_busy, wait_within};
use crate::run::RUN_VARIABLE;
use crate::run::Run;
use crate::trouble::Trouble;
use subject::{Engine, Place};

/// Does something before a command, and may return another one, or an empty one for none.
pub type Before = fn(&EngineFixture<'_>, &[String]) -> Result<Option<Vec<String>>, Trouble>;

/// Does something after a command.
pub type After = fn(&EngineFixture<'_>, &[String]) -> Result<(), Trouble>;

/// Changes what a command said.
pub type Retell = fn(&EngineFixture<'_>, &[String], &mut Output) -> Result<(), Trouble>;

/// What a fault does to commands.
#[derive(Debug, Clone, Copy)]
pub enum Hook {
    /// Something before each.
    Before(Before),
    /// Something after each.
    After(After),
    /// A change of what each said.
    Answer(Retell),
}

/// One try of a check against an engine.
#[derive(Debug)]
pub struct EngineFixture<'a> {
    /// What was expected and seen.
    pub seen: Notebook,
    pub(super) run: &'a Run,
    tag: String,
    dir: PathBuf,
    pub(super) engine: Arc<dyn Engine>,
    place: Place,
    /// Before the fake host, so that they end first.
    pub(super) daemons: Option<Daemons>,
    pub(super) host: RefCell<FakeHost>,
    fault: Option<&'static str>,
    hook: Option<Hook>,
    count: Cell<u32>,
    tampering: Cell<bool>,
    tap: Option<Arc<Tap>>,
}

impl<'a> EngineFixture<'a> {
    /// Prepares a try. Everything that it makes on the host has `tag` in its name, or lies in its directory.
    ///
    /// # Errors
    /// The run's directory cannot be written, or the fake host cannot be set up.
    pub fn new(
        run: &'a Run,
        engine: &Arc<dyn Engine>,
        fault: Option<&'static str>,
        hook: Option<Hook>,
        tag: &str,
    ) -> Result<Self, Trouble> {
        if engine.is_shared() {
            let text = "the daemon is the user's, and this check names images, volumes and networks as it likes: leave out --host";
            return Err(Trouble::Skip(text.into()));
        }
        let dir = run.dir().join(tag);
        std::fs::create_dir_all(&dir)?;
        let mut host = FakeHost::new(run.id())?;
        // As on every host that has been started.
        host.ask(net::loopback_up())?;
        let short = run.dir().join(format!("{}-run", tag.rsplit('-').next().unwrap_or(tag)));
        let place = Place::new(&dir, short, format!("{tag}-engine"));
        let mut fixture = Self {
            seen: Notebook::default(),
            run,
            tag: tag.to_owned(),
            place,
            dir,
            daemons: None,
            engine: Arc::clone(engine),
            host: RefCell::new(host),
            fault,
            hook,
            count: Cell::new(0),
            tampering: Cell::new(false),
            tap: None,
        };
        fixture.start_daemons()?;
        Ok(fixture)
    }

    pub(super) fn start_daemons(&mut self) -> Result<(), Trouble> {
        let services = self.engine.services(&self.place)?;
        if !services.is_empty() {
            let host = self.host.borrow().pid();
            self.daemons = Some(Daemons::start(self.run.id(), host, &crate::run::base(), &services)?);
        }
        Ok(())
    }

    /// The file to which `login` writes.
    pub fn logins(&self) -> PathBuf {
        self.engine.logins(&self.place)
    }

    /// From now on what the check asks for is seen, and perhaps mutated.
    pub fn tap(&mut self, tap: Arc<Tap>) {
        tap.begin(&self.tag, self.run.id());
        self.tap = Some(tap);
    }

    /// Whether what the check sets up itself is to be broken in this way.
    pub fn has(&self, fault: &str) -> bool {
        self.fault == Some(fault)
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

    pub(super) fn prepare(&self, words: &[String]) -> Command {
        let mut command = self.engine.program().command(Some(&self.host.borrow().through()));
        command.env(RUN_VARIABLE, self.run.id()).envs(self.engine.variables(&self.place));
        command.args(self.engine.options(&self.place)).args(words);
        command
    }

    /// Runs a command of the engine to its end, whatever it says.
    ///
    /// # Errors
    /// It did not end.
    pub fn output(&self, words: &[&str]) -> Result<Output, Trouble> {
        self.output_with(words, Stdio::null())
    }

    /// The same, with a standard input.
    ///
    /// # Errors
    /// It did not end.
    pub fn output_with(&self, words: &[&str], input: Stdio) -> Result<Output, Trouble> {
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        // What a fault does by the engine's own commands is not broken again.
        let hook = self.hook.filter(|_| !self.tampering.get());
        if let Some(Hook::Before(tamper)) = hook {
            self.tampering.set(true);
            let other = tamper(self, &words);
            self.tampering.set(false);
            if let Some(other) = other? {
                words = other;
            }
        }
        if words.is_empty() {
            return Ok(Output { status: 0, out: String::new(), err: String::new() });
        }
        let mut mutated = false;
        if let Some(tap) = self.tap.as_ref().filter(|_| !self.tampering.get()) {
            (words, mutated) = tap.words(words, &self.dir)?;
        }
        // By its name it is found and removed, whatever else the engine has.
        let is_named = |word: &String| word == "--name" || word.starts_with("--name=");
        if matches!(words[0].as_str(), "run" | "create") && !words.iter().any(is_named) {
            words.splice(1..1, ["--name".to_owned(), self.name()]);
        }
        let mut command = self.prepare(&words);
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
        unless_busy(watchdog)?;
        if let Some(Hook::After(tamper)) = hook {
            self.tampering.set(true);
            let tampered = tamper(self, &words);
            self.tampering.set(false);
            tampered?;
        }
        let code = status
            .code()
            .unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
        if let Some(tap) = self.tap.as_ref().filter(|_| mutated && code == 125) {
            tap.refused(&text(&err));
        }
        let mut said = Output { status: code, out: text(&out), err: text(&err) };
        if let Some(Hook::Answer(retell)) = hook {
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
    pub fn command(&self, words: &[&str]) -> Result<String, Trouble> {
        let said = self.output(words)?;
        if said.status == 0 {
            return Ok(said.out);
        }
        let name = self.engine.name();
        Err(Trouble::Subject(format!("{name} {}: {} ({})", words.join(" "), said.err, said.status)))
    }

    /// A name for a container that nobody has.
    pub fn name(&self) -> String {
        self.count.set(self.count.get() + 1);
        format!("{}-{}", self.tag, self.count.get())
    }
}

impl Drop for EngineFixture<'_> {
    fn drop(&mut self) {
        self.tampering.set(true);
        // An engine that does not keep to the root it was given lists containers of others, too.
        if let Ok(all) = self.output(&["ps", "-a", "--format", "{{.Names}}"]) {
            let own = format!("{}-", self.tag);
            let names: Vec<&str> = all.out.lines().filter(|name| name.starts_with(&own)).collect();
            if !names.is_empty() {
                let _ = self.output(&[&["rm", "-f", "-v"], &names[..]].concat());
            }
        }
        let repair = self.engine.repair();
        if !repair.is_empty() {
            let _ = self.output(repair);
        }
        if self.daemons.take().is_some() {
            let groups = Directories(audit::cgroups(&self.run.layout, self.place.group()));
            let _ = Group::at(&self.run.layout, &groups).remove();
            let _ = crate::remove::tree(self.place.short());
        }
    }
}
