//! One try of a check against a subject: what its body works with.

use std::path::PathBuf;
use std::sync::Arc;

use runtime::cgroup::Layout;

use super::caller::Caller;
use super::container::Container;
use super::driver::Driver;
use super::start::Started;
use super::through_engine::ThroughEngine;
use super::way::Way;
use crate::fake_host::FakeHost;
use crate::fault::Fault;
use crate::mutate::Tap;
use crate::notebook::Notebook;
use crate::probes::Probe;
use crate::run::Run;
use crate::trouble::Trouble;
use probe::verbs::{files, net};
use probe::{Act, Ask};
use subject::{Engine, Runtime};

/// What a check's body works with.
#[derive(Debug)]
pub struct RuntimeFixture<'a> {
    /// What was expected and seen.
    pub seen: Notebook,
    pub(super) run: &'a Run,
    tag: String,
    dir: PathBuf,
    pub(super) driver: Driver,
    host: Option<FakeHost>,
    containers: u32,
    first: Option<i32>,
    fault: Option<&'static str>,
}

impl<'a> RuntimeFixture<'a> {
    /// Prepares a try. Everything that it makes on the host has `tag` in its name.
    ///
    /// # Errors
    /// The run's directory cannot be written.
    pub fn new(
        run: &'a Run,
        runtime: &Arc<dyn Runtime>,
        fault: Option<&Fault>,
        tag: &str,
    ) -> Result<Self, Trouble> {
        let dir = run.dir().join(tag);
        std::fs::create_dir_all(dir.join("state"))?;
        Ok(Self::with(run, Way::Runtime(Arc::clone(runtime)), None, fault, tag))
    }

    /// The same with an engine, which is asked for each container in its own words, on a fake host.
    ///
    /// # Errors
    /// The run's directory cannot be written, or the engine's daemons cannot be started.
    pub fn through_engine(
        run: &'a Run,
        engine: &Arc<dyn Engine>,
        fault: Option<&Fault>,
        tag: &str,
    ) -> Result<Self, Trouble> {
        std::fs::create_dir_all(run.dir().join(tag))?;
        let mut host = FakeHost::new(run.id())?;
        host.ask(net::loopback_up())?;
        let engine = ThroughEngine::new(run, engine, &host, tag)?;
        let host = (!engine.is_shared()).then_some(host);
        Ok(Self::with(run, Way::Engine(Arc::new(engine)), host, fault, tag))
    }

    fn with(run: &'a Run, way: Way, host: Option<FakeHost>, fault: Option<&Fault>, tag: &str) -> Self {
        let dir = run.dir().join(tag);
        let driver = Driver {
            way,
            through: None,
            state: dir.join("state"),
            run: run.id().into(),
            fault: fault.map(|fault| fault.kind),
            tap: None,
            caller: Arc::default(),
        };
        Self {
            seen: Notebook::default(),
            run,
            tag: tag.to_owned(),
            dir,
            driver,
            host,
            containers: 0,
            first: None,
            fault: fault.map(|fault| fault.name),
        }
    }

    /// From now on what the check asks for is seen, and perhaps mutated.
    pub fn tap(&mut self, tap: Arc<Tap>) {
        tap.begin(&self.tag, self.run.id());
        self.driver.tap = Some(tap);
    }

    /// From now on the subject is called so. An engine is called as ever: it calls its runtime itself.
    pub fn called_by(&mut self, caller: Caller) {
        if matches!(self.driver.way, Way::Runtime(_)) {
            self.driver.caller = Arc::new(caller);
        }
    }

    /// From now on the subject runs on a fake host: a host of its own with shared mounts.
    ///
    /// # Errors
    /// The fake host cannot be set up.
    pub fn on_fake_host(&mut self) -> Result<(), Trouble> {
        if let Way::Engine(engine) = &self.driver.way {
            // An engine of its own is there from the beginning.
            return if engine.is_shared() {
                Err(Trouble::Skip("a daemon that runs already is on the real host: leave out --host".into()))
            } else {
                Ok(())
            };
        }
        let host = FakeHost::new(self.run.id())?;
        self.driver.through = Some(Arc::new(host.through()));
        self.host = Some(host);
        Ok(())
    }

    /// Asks the probe on the fake host, outside every container.
    ///
    /// # Errors
    /// There is no fake host, or the question cannot be answered.
    pub fn ask_host<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        self.host().and_then(|host| host.ask(request))
    }

    /// Whether what the check sets up itself is to be broken in this way.
    pub fn has(&self, fault: &str) -> bool {
        self.fault == Some(fault)
    }

    /// A probe outside of every container, on the real host.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn host_probe(&self) -> Result<Probe, Trouble> {
        Probe::start(self.run.id())
    }

    /// The process that plays the host: the fake host's, or the harness itself.
    pub fn host_pid(&self) -> i32 {
        self.host.as_ref().map_or_else(|| std::process::id().cast_signed(), FakeHost::pid)
    }

    fn host(&mut self) -> Result<&mut FakeHost, Trouble> {
        self.host.as_mut().ok_or_else(|| Trouble::Harness("the check has no fake host".into()))
    }

    /// A fresh directory of the try, with this name.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf, Trouble> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Keeps other users of this machine away from all that the try has: they could run a set-user-id program in it. Not for
    /// containers in a user namespace, whose root is such a user.
    ///
    /// # Errors
    /// The mode of the directory cannot be changed.
    pub fn keep_others_out(&self) -> Result<(), Trouble> {
        use std::os::unix::fs::PermissionsExt;
        Ok(std::fs::set_permissions(&self.dir, std::fs::Permissions::from_mode(0o700))?)
    }

    /// A fresh copy of the built-in image, to be a lower layer.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn image(&self) -> Result<PathBuf, Trouble> {
        let dir = self.directory("image")?;
        self.run.make_rootfs(&dir)?;
        Ok(dir)
    }

    /// The probe's file, on the file system of the run: to be linked into an image of a check's own.
    ///
    /// # Errors
    /// There is none.
    pub fn image_probe(&self) -> Result<PathBuf, Trouble> {
        let file = self.run.probe();
        if file.exists() { Ok(file) } else { Err(Trouble::Harness("the run has no probe".into())) }
    }

    /// A tmpfs on the fake host, where an upper layer can be whatever the host's own file system is.
    ///
    /// # Errors
    /// There is no fake host.
    pub fn file_system(&mut self) -> Result<PathBuf, Trouble> {
        let dir = self.directory("layers")?;
        let text = dir.to_str().ok_or_else(|| Trouble::Harness("the run's directory is no UTF-8".into()))?;
        self.ask_host(files::mount(text))?;
        Ok(dir)
    }

    /// The hierarchies of the host.
    pub fn layout(&self) -> &Layout {
        &self.run.layout
    }

    /// The seed of property checks.
    pub fn seed(&self) -> u64 {
        self.run.seed
    }

    /// The id of the run.
    pub fn run_id(&self) -> &str {
        self.run.id()
    }

    /// A request, done by this very thread: for what a check must have in its own credentials.
    ///
    /// # Errors
    /// The verb failed.
    pub fn do_here<A: Act>(&self, request: A) -> Result<A::Answer, Trouble> {
        Ok(probe::perform(request)?)
    }

    /// The subject's commands.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Expects that a start was refused, by an error that the subject decided on; a container that runs is ended.
    ///
    /// # Errors
    /// The container that should not have started does not end.
    pub fn expect_refused(&mut self, what: &str, started: Started) -> Result<(), Trouble> {
        const EXPECTED: &str = "refused with an error and its reason";
        match started {
            Started::Runs(container) => {
                self.seen.expect(what, "started", EXPECTED, false);
                container.close().map(drop)
            }
            Started::Refused(refusal) => {
                self.seen.expect(what, &refusal, EXPECTED, refusal.is_clear());
                Ok(())
            }
        }
    }

    /// Expects that a container starts, and returns it: for a check in which the start itself is the claim.
    pub fn expect_runs(&mut self, what: &str, started: Started) -> Option<Container> {
        match started {
            Started::Runs(container) => {
                self.seen.expect_eq(&format!("{what}: it starts"), &true, &true);
                Some(container)
            }
            Started::Refused(refusal) => {
                self.seen.expect(&format!("{what}: it starts"), &refusal, "true", false);
                None
            }
        }
    }

    /// The fault by which all containers are limited together.
    pub(super) fn share_group(&mut self, container: &Container) -> Result<(), Trouble> {
        let Some(first) = self.first else {
            self.first = Some(container.pid);
            return Ok(());
        };
        let layout = Layout::detect()?;
        let group = runtime::cgroup::Group::of_process(&layout, first)?;
        let part = group.part("memory").ok_or_else(|| Trouble::Harness("no memory controller".into()))?;
        Ok(std::fs::write(part.dir.join("cgroup.procs"), container.pid.to_string())?)
    }

    pub(super) fn next_id(&mut self) -> String {
        self.containers += 1;
        format!("{}-{}", self.tag, self.containers)
    }

    /// A bundle's directory, with a root file system that holds the probe and nothing else.
    pub(super) fn bundle(&self, id: &str) -> Result<PathBuf, Trouble> {
        let bundle = self.directory(id)?;
        self.run.make_rootfs(&bundle.join("rootfs"))?;
        Ok(bundle)
    }
}
