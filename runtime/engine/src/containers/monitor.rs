//! The process that watches a container from its start to its end: it mounts the layers where nobody else sees them, gives the
//! container its network, ports and volumes, keeps its log, and clears everything away.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::{dup, pipe2, setsid};

use super::engine::Engine;
use super::health::{Health, HealthCheck};
use super::ids::{STOPPED, now};
use super::logs::{Stream, Writer};
use super::pump::{Input, Output, Pump};
use super::record::{Record, State};
use super::restart::Backoff;
use super::start::{Attach, Report};
use super::users::Identity;
use super::{spec, watch_lock};
use crate::network::publish::{self, Listening};
use runtime::container::{Container, Created, Options};
use runtime::deadline::Deadline;
use runtime::error::{Doing, Error, Result};
use runtime::namespace::Kind;
use runtime::oci::Bundle;
use runtime::process::supervise::Signals;
use runtime::process::terminal::Console;
use runtime::process::{descriptors, pidfd, protect};
use runtime::rootfs::resolve::{Root, by_descriptor};

/// Watches a container to its end. The process must have a single thread and nothing else to do. `control` is the number of
/// the inherited socket.
///
/// # Errors
/// There is nobody to tell: whatever goes wrong before the start is sent to the caller.
pub fn monitor(engine: &Engine, id: &str, control: i32, attach: Attach) -> Result<()> {
    protect::own_file()?;
    descriptors::close_others(0)?;
    // SAFETY: it was inherited for this very use, and nobody else in this process knows it.
    let control = unsafe { OwnedFd::from_raw_fd(control) };
    let tell = |report: &Report| {
        if let Ok(text) = serde_json::to_vec(report) {
            // Who asked may have gone.
            let _ = send(control.as_raw_fd(), &text, MsgFlags::MSG_NOSIGNAL);
        }
    };
    // Detach from the terminal of the caller, and from the signals that come from it.
    let _ = setsid();
    let _signals = Signals::block()?;
    let record = engine.find(id)?;
    let lock = watch_lock::open(&engine.dir(id).join("lock"))?;
    if !watch_lock::hold(&lock)? {
        let reason = format!("container '{}' is running already", record.name);
        tell(&Report::Failed { status: 125, reason });
        return Ok(());
    };
    let _ = fs::remove_file(engine.dir(id).join(STOPPED));
    let mut watch =
        Watch { engine, record: &record, state: State::default(), helpers: Vec::new(), is_apart: false };
    let mut run = match watch.begin(attach) {
        Ok(started) => started,
        Err(error) => {
            let reason = error.to_string();
            let status = error.kind().exit_status(125);
            watch.clear(status.into(), Some(reason.clone()), false);
            watch_lock::tell(&lock, status.into());
            tell(&Report::Failed { status, reason });
            return Ok(());
        }
    };
    tell(&Report::Started { pid: run.0.init.pid });
    run.1.control = Some(control.try_clone().doing(|| "duplicating a descriptor")?);
    let status = watch.run_on(run, |status| {
        // Report the end of a run to those attached, even if another run follows.
        tell(&Report::Ended { status });
    });
    // A process that waits for the lock finds the status in it, even if the container's directory is gone.
    watch_lock::tell(&lock, status);
    if record.host.auto_remove {
        let removed = engine.lock().and_then(|_lock| engine.erase(&record, true));
        drop(removed);
    }
    drop(lock);
    tell(&Report::Ended { status });
    Ok(())
}

struct Watch<'a> {
    engine: &'a Engine,
    record: &'a Record,
    state: State,
    /// Processes that serve the run: they carry ports, ask for its health.
    helpers: Vec<Child>,
    /// This process has a mount namespace of its own.
    is_apart: bool,
}

impl Watch<'_> {
    /// Carries a run to its end, and those that its policy has follow. `ended` is told of each but the last.
    fn run_on(&mut self, first: (Created, Pump), ended: impl Fn(i32)) -> i32 {
        let (mut run, mut backoff) = (first, Backoff::new());
        loop {
            let began = Instant::now();
            let (created, mut pump) = run;
            let pumped = pump.run(&created.init.pidfd);
            let status = pidfd::reap(&created.init.pidfd).unwrap_or(137);
            drop(created);
            drop(pump);
            // It may have been changed since.
            let policy =
                self.engine.find(&self.record.id).map_or(self.record.host.restart, |now| now.host.restart);
            let goes_on = policy.again(status, self.state.restarts, self.engine.was_stopped(&self.record.id));
            self.clear(status, pumped.err().map(|error| error.to_string()), goes_on);
            if !goes_on {
                return status;
            }
            ended(status);
            if self.is_told_to_stop(backoff.after(began.elapsed())) {
                return self.give_up(status, None);
            }
            let restarts = self.state.restarts + 1;
            run = match self.begin(Attach::default()) {
                Ok(next) => next,
                Err(error) => return self.give_up(error.kind().exit_status(125).into(), Some(error)),
            };
            self.state.restarts = restarts;
            let _ = self.engine.write_state(&self.record.id, &self.state);
        }
    }

    fn give_up(&mut self, status: i32, error: Option<Error>) -> i32 {
        self.clear(status, error.map(|error| error.to_string()), false);
        status
    }

    /// Waits before the next start; true if the container is stopped by hand meanwhile.
    fn is_told_to_stop(&self, patience: Duration) -> bool {
        let id = &self.record.id;
        let deadline = Deadline::after(patience);
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        if let Some(watch) = &watch {
            let what = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE;
            let _ = watch.add_watch(&self.engine.dir(id), what);
        }
        loop {
            let is_time = deadline.has_passed();
            if self.engine.was_stopped(id) {
                return true;
            }
            if is_time {
                return false;
            }
            let mut fds: Vec<PollFd<'_>> =
                watch.iter().map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)).collect();
            let _ = poll(&mut fds, deadline.timeout());
            while watch.as_ref().is_some_and(|watch| watch.read_events().is_ok()) {}
        }
    }

    /// A start, with what serves the run beside it.
    fn begin(&mut self, attach: Attach) -> Result<(Created, Pump)> {
        let check = HealthCheck::of(&self.record.config)?;
        let started = self.start(attach)?;
        if check.is_some() {
            let health = self.engine.write_health(self.record, &Health::starting());
            let asking = health.and_then(|()| self.help(&["health".to_owned(), self.record.id.clone()]));
            self.helpers.push(asking?);
        }
        Ok(started)
    }

    /// Starts a process that serves the run, and goes with this one.
    fn help(&self, words: &[String]) -> Result<Child> {
        Command::new(&self.engine.helper.program)
            .arg0(&self.engine.helper.name)
            .arg("--data-root")
            .arg(&self.engine.data)
            .arg("--run-root")
            .arg(&self.engine.run)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .doing(|| format!("starting the helper '{}'", words[0]))
    }

    /// All that has to be there before the application, then the application.
    fn start(&mut self, attach: Attach) -> Result<(Created, Pump)> {
        let (engine, record) = (self.engine, self.record);
        // What an earlier run left, whose watcher was killed.
        if Container::hold(&engine.run, &record.id).is_ok() {
            self.state = engine.state(&record.id);
            engine.bury(record)?;
        }
        self.state = State { started: Some(now()), ..State::default() };
        if !self.is_apart {
            unshare(CloneFlags::CLONE_NEWNS).doing(|| "making a mount namespace")?;
            self.is_apart = true;
        }
        let rootfs = engine.mount_layers(record)?;
        let root = Root::open(&rootfs)?;
        let mut identity = Identity::find(&root, &record.config.user)?;
        identity.join(&root, &record.host.group_add)?;
        engine.fill_volumes(record, &root)?;
        make_workdir(&root, record)?;
        drop(root);
        let sockets = self.listen()?;
        let attached = engine.join_network(record, &mut self.state)?;
        engine.write_files(record, &self.state)?;
        engine.meet_neighbours(record)?;
        self.helpers.extend(self.carry_ports(&sockets)?);
        drop(sockets);
        let network = match (&attached, record.host.network.strip_prefix("container:")) {
            (Some(attached), _) => Some(by_descriptor(&attached.namespace)),
            (None, Some(other)) => Some(engine.namespace_of("--network", other, Kind::Network)?),
            (None, None) => None,
        };
        let processes = record.host.pid_of.as_deref();
        let now = spec::Now {
            rootfs: &rootfs,
            identity: &identity,
            network,
            processes: processes.map(|other| engine.namespace_of("--pid", other, Kind::Pid)).transpose()?,
            init: if record.host.init { engine.init_program()? } else { Default::default() },
            console_size: attach.size,
        };
        let spec = engine.spec(&engine.with_fixed_sources(record)?, &now)?;
        let bundle =
            Bundle { dir: engine.dir(&record.id), spec, rootfs: rootfs.clone(), warnings: Vec::new() };
        let (created, pump) = self.create(&bundle, attach)?;
        self.state.pid = created.init.pid;
        engine.write_state(&record.id, &self.state)?;
        engine.tell(record, "start", &[]);
        Ok((created, pump))
    }

    fn listen(&mut self) -> Result<Vec<Listening>> {
        if self.record.own_network().is_none() {
            return Ok(Vec::new());
        }
        let exposed = if self.record.host.publish_all { self.record.exposed()? } else { Vec::new() };
        let all = self.record.host.ports.iter().chain(&exposed);
        let sockets: Vec<Listening> = all.map(publish::listen).collect::<Result<_>>()?;
        self.state.ports = sockets.iter().map(|listening| listening.port.clone()).collect();
        Ok(sockets)
    }

    fn carry_ports(&self, sockets: &[Listening]) -> Result<Option<Child>> {
        let Some(address) = self.state.address.filter(|_| !sockets.is_empty()) else { return Ok(None) };
        for listening in sockets {
            fcntl(&listening.socket, FcntlArg::F_SETFD(FdFlag::empty())).doing(|| "passing a socket on")?;
        }
        let arguments: Vec<String> =
            sockets.iter().map(|listening| publish::argument(listening, address)).collect::<Result<_>>()?;
        let child = Command::new(&self.engine.helper.program)
            .arg0(&self.engine.helper.name)
            .arg("proxy")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .doing(|| "starting the proxy of published ports")?;
        Ok(Some(child))
    }

    fn create(&self, bundle: &Bundle, attach: Attach) -> Result<(Created, Pump)> {
        let host = &self.record.host;
        let theirs = |fd: i32| -> Result<OwnedFd> {
            // SAFETY: standard streams are open for as long as this process lives.
            let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
            let copy = dup(borrowed).doing(|| "duplicating a standard stream")?;
            fcntl(&copy, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).doing(|| "duplicating a standard stream")?;
            Ok(copy)
        };
        let typist = attach.input.then(|| theirs(0)).transpose()?;
        let lookers =
            (attach.output.then(|| theirs(1)).transpose()?, attach.output.then(|| theirs(2)).transpose()?);
        let log = Writer::open(&self.engine.dir(&self.record.id).join("log"), &host.log)?;
        let options = |console| Options {
            root: &self.engine.run,
            id: &self.record.id,
            console,
            no_pivot: false,
            no_new_keyring: false,
            start: true,
        };
        let null = File::options().read(true).write(true).open("/dev/null").doing(|| "opening /dev/null")?;
        if host.tty {
            take_streams(&null, &null, &null)?;
            let (ours, console) = descriptors::console_pair()?;
            let created =
                Container::create(bundle, &options(Some(Console { socket: &console, plain_lines: false })))?;
            let master = descriptors::receive_console(&ours)?;
            let copy = |master: &OwnedFd| master.try_clone().doing(|| "duplicating the terminal");
            let output = Output { from: Some(copy(&master)?), stream: Stream::Stdout, to: lookers.0 };
            // Its mode is shared by all copies, so the terminal's own must be left as it is: reads are only made when
            // something is there.
            let input = Input::new(typist, Some(copy(&master)?));
            let pump = Pump { outputs: vec![output], input, terminal: Some(master), control: None, log };
            return Ok((created, pump));
        }
        let pipe = || pipe2(OFlag::O_CLOEXEC).doing(|| "making a pipe");
        let (out_from, out_to) = pipe()?;
        let (err_from, err_to) = pipe()?;
        let (in_from, in_to) = pipe()?;
        if host.interactive {
            take_streams(&in_from, &out_to, &err_to)?;
        } else {
            take_streams(&null, &out_to, &err_to)?;
        }
        drop((out_to, err_to, in_from));
        let created = Container::create(bundle, &options(None));
        // From now on these streams are the container's alone.
        take_streams(&null, &null, &null)?;
        let outputs = vec![
            Output { from: Some(out_from), stream: Stream::Stdout, to: lookers.0 },
            Output { from: Some(err_from), stream: Stream::Stderr, to: lookers.1 },
        ];
        let input = Input::new(typist, host.interactive.then_some(in_to));
        Ok((created?, Pump { outputs, input, terminal: None, control: None, log }))
    }

    /// Removes what the run has made, and writes down how it ended, and whether another follows.
    fn clear(&mut self, status: i32, error: Option<String>, goes_on: bool) {
        let (engine, record) = (self.engine, self.record);
        if let Ok(container) = Container::hold(&engine.run, &record.id) {
            self.state.oom_killed = container.stats().oom_kills.is_some_and(|kills| kills > 0);
            let _ = container.delete(true);
        }
        for mut helper in self.helpers.drain(..) {
            let _ = helper.kill();
            let _ = helper.wait();
        }
        let _ = engine.leave_network(record, &mut self.state);
        let _ = umount2(&engine.dir(&record.id).join("merged"), MntFlags::MNT_DETACH);
        if self.state.pid != 0 {
            if self.state.oom_killed {
                engine.tell(record, "oom", &[]);
            }
            engine.tell(record, "die", &[("exitCode", status.to_string())]);
        }
        self.state.pid = 0;
        self.state.restarting = goes_on;
        self.state.finished = Some(now());
        self.state.exit_code = Some(status);
        self.state.error = error;
        let _ = engine.write_state(&record.id, &self.state);
    }
}

/// Puts descriptors where a new process finds its standard streams.
fn take_streams(input: impl AsFd, output: impl AsFd, error: impl AsFd) -> Result<()> {
    let doing = || "setting the standard streams";
    rustix::stdio::dup2_stdin(input).doing(doing)?;
    rustix::stdio::dup2_stdout(output).doing(doing)?;
    rustix::stdio::dup2_stderr(error).doing(doing)
}

/// The working directory of an image need not exist in it; it is made with the owner of the image, not of the user.
fn make_workdir(root: &Root, record: &Record) -> Result<()> {
    let dir = record.config.working_dir.as_str();
    if dir.is_empty() || record.host.read_only {
        return Ok(());
    }
    root.ensure_dir(Path::new(dir), 0o755)
        .map(drop)
        .map_err(|error| Error::new(format!("working directory {dir}: {error}")))
}
