//! The process that watches a container from its start to its end: it mounts the layers where nobody else sees them, gives the
//! container its network, ports and volumes, keeps its log, and clears everything away.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::unistd::{dup, pipe2, setsid};
use serde::{Deserialize, Serialize};

use super::logs::{Stream, Writer};
use super::pump::{Input, Output, Pump};
use super::record::{Record, State};
use super::{Engine, Identity, now, spec, watch_lock};
use crate::network::publish::{self, Listening};
use runtime::container::{Container, Created, Options};
use runtime::error::{Doing, Error, Result};
use runtime::oci::{Bundle, ConsoleSize};
use runtime::process::supervise::Signals;
use runtime::process::terminal::Console;
use runtime::process::{descriptors, pidfd, protect};
use runtime::rootfs::resolve::{Root, by_descriptor};

/// Which of the caller's standard streams are the container's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// What the caller types goes to the container.
    pub input: bool,
    /// What the container says goes to the caller.
    pub output: bool,
    /// Size of the caller's terminal.
    pub size: Option<ConsoleSize>,
}

/// What the watcher tells the command that started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The application runs.
    Started {
        /// Its PID on the host.
        pid: i32,
    },
    /// It could not be started.
    Failed {
        /// Exit status for that: 125 for the engine's own failure, 126 if it cannot be executed, 127 if it is not there.
        status: u8,
        /// Why.
        reason: String,
    },
    /// It has ended, and nothing is left of its run.
    Ended {
        /// Its exit status.
        status: i32,
    },
}

/// A container that was started, seen from the command that did so.
#[derive(Debug)]
pub struct Started {
    /// PID of the container's first process on the host.
    pub pid: i32,
    control: OwnedFd,
}

impl Engine {
    /// Starts a container, watched by a process of its own.
    ///
    /// # Errors
    /// It cannot be started; the reason is the watcher's, and so is the exit status.
    pub fn start(&self, record: &Record, attach: Attach) -> Result<Started, (Error, u8)> {
        let own = |error: Error| (error, 125);
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .doing(|| "making a socket pair")
                .map_err(own)?;
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).doing(|| "passing a socket on").map_err(own)?;
        let null = || if attach.output { Stdio::inherit() } else { Stdio::null() };
        let attach_text =
            serde_json::to_string(&attach).map_err(|error| own(Error::new(error.to_string())))?;
        Command::new(&self.helper.program)
            .arg0(&self.helper.name)
            .arg("--data-root")
            .arg(&self.data)
            .arg("--run-root")
            .arg(&self.run)
            .args([
                "monitor",
                "--control",
                &theirs.as_raw_fd().to_string(),
                "--attach",
                &attach_text,
                &record.id,
            ])
            .stdin(if attach.input { Stdio::inherit() } else { Stdio::null() })
            .stdout(null())
            .stderr(null())
            .spawn()
            .doing(|| "starting the container's watcher")
            .map_err(own)?;
        drop(theirs);
        match receive(&ours).map_err(own)? {
            Some(Report::Started { pid }) => Ok(Started { pid, control: ours }),
            Some(Report::Failed { status, reason }) => Err((Error::new(reason), status)),
            other => {
                Err(own(Error::new(format!("the watcher of container '{}' died: {other:?}", record.name))))
            }
        }
    }
}

impl Started {
    /// The connection, to be waited for.
    pub fn control(&self) -> &OwnedFd {
        &self.control
    }

    /// Tells the size of the caller's terminal.
    pub fn resize(&self, size: ConsoleSize) {
        if let Ok(text) = serde_json::to_vec(&size) {
            let _ = send(self.control.as_raw_fd(), &text, MsgFlags::MSG_NOSIGNAL);
        }
    }

    /// The exit status, once the container has ended and was cleared away.
    ///
    /// # Errors
    /// The watcher was killed.
    pub fn ended(&self) -> Result<i32> {
        match receive(&self.control)? {
            Some(Report::Ended { status }) => Ok(status),
            _ => Err(Error::new("the container's watcher was killed")
                .remedy("`plim system check --repair` clears away what is left")),
        }
    }
}

fn receive(socket: &OwnedFd) -> Result<Option<Report>> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(nix::errno::Errno::EINTR) => {}
            Ok(0) | Err(nix::errno::Errno::ECONNRESET) => return Ok(None),
            length => {
                let length = length.doing(|| "listening to the container's watcher")?;
                return Ok(serde_json::from_slice(&buffer[..length]).ok());
            }
        }
    }
}

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
    // The terminal of whoever started it is not this process's, nor are the signals that come from there.
    let _ = setsid();
    let _signals = Signals::block()?;
    let record = engine.find(id)?;
    let lock = watch_lock::open(&engine.dir(id).join("lock"))?;
    if !watch_lock::hold(&lock)? {
        let reason = format!("container '{}' is running already", record.name);
        tell(&Report::Failed { status: 125, reason });
        return Ok(());
    };
    let mut watch = Watch { engine, record: &record, state: State::default(), proxy: None };
    let (created, mut pump) = match watch.start(attach) {
        Ok(started) => started,
        Err(error) => {
            let reason = error.to_string();
            let status = error.kind().exit_status(125);
            watch.clear(status.into(), Some(reason.clone()));
            watch_lock::tell(&lock, status.into());
            tell(&Report::Failed { status, reason });
            return Ok(());
        }
    };
    tell(&Report::Started { pid: created.init.pid });
    pump.control = Some(control.try_clone().doing(|| "duplicating a descriptor")?);
    let pumped = pump.run(&created.init.pidfd);
    let status = pidfd::reap(&created.init.pidfd).unwrap_or(137);
    drop(created);
    drop(pump);
    watch.clear(status, pumped.err().map(|error| error.to_string()));
    // Whoever waits for the lock finds the status in it, even when the container's directory is gone.
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
    proxy: Option<Child>,
}

impl Watch<'_> {
    /// All that has to be there before the application, then the application.
    fn start(&mut self, attach: Attach) -> Result<(Created, Pump)> {
        let (engine, record) = (self.engine, self.record);
        // What an earlier run left, whose watcher was killed.
        if Container::hold(&engine.run, &record.id).is_ok() {
            self.state = engine.state(&record.id);
            engine.bury(record)?;
        }
        self.state = State { started: Some(now()), ..State::default() };
        unshare(CloneFlags::CLONE_NEWNS).doing(|| "making a mount namespace")?;
        let rootfs = engine.mount_layers(record)?;
        let root = Root::open(&rootfs)?;
        let identity = Identity::find(&root, &record.config.user)?;
        engine.fill_volumes(record, &root)?;
        make_workdir(&root, record)?;
        drop(root);
        let sockets = self.listen()?;
        let attached = engine.join_network(record, &mut self.state)?;
        engine.write_files(record, &self.state)?;
        engine.meet_neighbours(record)?;
        self.proxy = self.carry_ports(&sockets)?;
        drop(sockets);
        let network = match (&attached, record.host.network.strip_prefix("container:")) {
            (Some(attached), _) => Some(by_descriptor(&attached.namespace)),
            (None, Some(other)) => Some(engine.network_of(other)?),
            (None, None) => None,
        };
        let now = spec::Now { rootfs: &rootfs, identity: &identity, network, console_size: attach.size };
        let spec = engine.spec(&engine.with_fixed_sources(record)?, &now)?;
        let bundle =
            Bundle { dir: engine.dir(&record.id), spec, rootfs: rootfs.clone(), warnings: Vec::new() };
        let (created, pump) = self.create(&bundle, attach)?;
        self.state.pid = created.init.pid;
        engine.write_state(&record.id, &self.state)?;
        Ok((created, pump))
    }

    fn listen(&mut self) -> Result<Vec<Listening>> {
        if self.record.own_network().is_none() {
            return Ok(Vec::new());
        }
        let sockets: Vec<Listening> =
            self.record.host.ports.iter().map(publish::listen).collect::<Result<_>>()?;
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
        let log = Writer::open(&self.engine.dir(&self.record.id).join("log"))?;
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

    /// Removes what the run has made, and writes down how it ended.
    fn clear(&mut self, status: i32, error: Option<String>) {
        let (engine, record) = (self.engine, self.record);
        if let Ok(container) = Container::hold(&engine.run, &record.id) {
            self.state.oom_killed = container.stats().oom_kills.is_some_and(|kills| kills > 0);
            let _ = container.delete(true);
        }
        if let Some(proxy) = &mut self.proxy {
            let _ = proxy.kill();
            let _ = proxy.wait();
        }
        let _ = engine.leave_network(record, &mut self.state);
        let _ = umount2(&engine.dir(&record.id).join("merged"), MntFlags::MNT_DETACH);
        self.state.pid = 0;
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
