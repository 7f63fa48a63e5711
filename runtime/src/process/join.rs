//! A further process in a container that runs: `exec`. Source: setns(2).

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::unistd::setsid;

use super::channel::{Channel, Message};
use super::clone::{Child, Side, clone3};
use super::credentials::CapabilitySets;
use super::entry::set_oom_score;
use super::finish::{Finish, reset_signals};
use super::init::become_mapped_root;
use super::keyring;
use super::label::Labels;
use super::seccomp::Filter;
use super::signal::Signal;
use super::terminal::{Console, Terminal};
use super::{pidfd, protect, scheduling};
use crate::cgroup::Ticket;
use crate::error::{Doing, Error, Result};
use crate::namespace::{self, Kind};
use crate::oci::{Linux, Process};
use crate::rootfs::devices;
use crate::rootfs::proc::Proc;
use crate::rootfs::resolve::Root;

/// A process to be started inside a container.
pub struct Join<'a> {
    /// The container's first process, as the caller sees it.
    pub init: i32,
    /// What to execute.
    pub process: &'a Process,
    /// How to join the container's control groups.
    pub ticket: &'a Ticket,
    /// Where the terminal's master goes.
    pub console: Option<Console<'a>>,
    /// Capabilities of the process.
    pub capabilities: &'a CapabilitySets,
    /// System call filter of the process.
    pub filter: Option<&'a Filter>,
    /// The container's configuration for Linux.
    pub linux: &'a Linux,
    /// The name of the container's session keyring; nothing if it has the caller's.
    pub keyring: Option<&'a str>,
    /// Takes the listener of that filter and the PID of the process, if there is one.
    pub listener: &'a dyn Fn(&OwnedFd, i32) -> Result<()>,
}

impl std::fmt::Debug for Join<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join")
            .field("init", &self.init)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl Join<'_> {
    /// Starts it, and returns once the application runs. Also moves the calling process's future children into
    /// the container's PID namespace, so the caller should not start any others.
    ///
    /// # Errors
    /// The container is gone, a namespace cannot be joined, or the program cannot be executed.
    pub fn start(&self) -> Result<Child> {
        let target = pidfd::open(self.init)?;
        let kinds = self.foreign_namespaces()?;
        let root =
            File::open(format!("/proc/{}/root", self.init)).doing(|| "opening the container's root")?;
        let (ours, theirs) = Channel::pair()?;
        if kinds.contains(&Kind::User) {
            // From there the score could not be lowered any more. The process inherits it.
            set_oom_score(self.process, &Proc::host()?, "self")?;
        }
        // Joined by the parent, because a PID namespace takes in only those born after. The user namespace grants
        // the right to it where the caller has none.
        for kind in [Kind::User, Kind::Pid].into_iter().filter(|kind| kinds.contains(kind)) {
            setns(&target, kind.flag())
                .doing(|| format!("joining the container's {} namespace", kind.file()))?;
        }
        // SAFETY: the command line programs that start processes have a single thread.
        match unsafe { clone3(CloneFlags::empty(), self.ticket.cgroup()) }.doing(|| "cloning a process")? {
            Side::Child => {
                protect::let_go();
                drop(ours);
                self.run(&theirs, &target, &kinds, &root)
            }
            Side::Parent(child) => {
                drop(theirs);
                protect::let_go();
                match self.hear(&ours, child.pid) {
                    Ok(()) => Ok(child),
                    Err(error) => {
                        let _ = pidfd::signal(child.pidfd.as_fd(), Signal::KILL);
                        let _ = pidfd::reap(&child.pidfd);
                        Err(error)
                    }
                }
            }
        }
    }

    /// Listens until the application was executed.
    fn hear(&self, channel: &Channel, pid: i32) -> Result<()> {
        loop {
            match channel.receive_with_file()? {
                None => return Ok(()),
                Some((Message::Listener, Some(listener))) => (self.listener)(&listener, pid)?,
                Some((Message::Failed(kind, reason), _)) => return Err(Error::new(reason).of_kind(kind)),
                Some((other, _)) => return Err(Error::new(format!("unexpected message {other:?}"))),
            }
        }
    }

    fn run(&self, channel: &Channel, target: &OwnedFd, kinds: &[Kind], root: &File) -> ! {
        let error = match self.enter_and_execute(channel, target, kinds, root) {
            Err(error) => error,
            Ok(never) => match never {},
        };
        let _ = channel.send(&Message::from(&error));
        // SAFETY: ends this process alone, without running the parent's exit handlers a second time.
        unsafe { libc::_exit(1) }
    }

    fn enter_and_execute(
        &self,
        channel: &Channel,
        target: &OwnedFd,
        kinds: &[Kind],
        root: &File,
    ) -> Result<Infallible> {
        reset_signals()?;
        // The caller's procfs: what the container has at /proc is the image's.
        let proc = Proc::host()?;
        let labels = Labels::open(self.process, &proc)?;
        if !kinds.contains(&Kind::User) {
            set_oom_score(self.process, &proc, "self")?;
        }
        let affinity = self.process.exec_cpu_affinity.as_ref();
        if let Some(affinity) = affinity {
            scheduling::run_on("process.execCPUAffinity.initial", &affinity.initial)?;
        }
        drop(proc);
        self.ticket.join()?;
        scheduling::run_anywhere()?;
        if let Some(affinity) = affinity {
            scheduling::run_on("process.execCPUAffinity.final", &affinity.last)?;
        }
        setsid().doing(|| "starting a session")?;
        let rest = kinds
            .iter()
            .filter(|kind| !matches!(kind, Kind::User | Kind::Pid))
            .fold(CloneFlags::empty(), |all, kind| all | kind.flag());
        if !rest.is_empty() {
            setns(target.as_fd(), rest).doing(|| "joining the container's namespaces")?;
        }
        if !kinds.contains(&Kind::Mount) {
            nix::unistd::fchdir(root).doing(|| "entering the container's root")?;
            crate::rootfs::switch::change_root(Path::new("."))?;
        }
        if let Some(name) = self.keyring {
            if kinds.contains(&Kind::User) {
                // A keyring is found by its owner. Where root is not mapped there is none, and this process gets one of its own.
                let _ = become_mapped_root();
            }
            keyring::join(name)?;
        }
        let finish = Finish {
            process: self.process,
            linux: self.linux,
            capabilities: self.capabilities,
            filter: self.filter,
            listener: Some(channel),
        };
        if self.process.terminal {
            let master = devices::ptmx(&Root::open(Path::new("/"))?)?;
            let terminal = Terminal::open_for(self.process.user.uid, self.console, master)?;
            terminal.take_over(self.process.console_size)?;
        }
        finish.enter_cwd()?;
        let program = finish.find_program()?;
        finish.execute(&program, &labels)
    }

    /// The kinds in which the container differs from the caller.
    fn foreign_namespaces(&self) -> Result<Vec<Kind>> {
        let own = std::process::id().cast_signed();
        let mut foreign = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_supported()) {
            if namespace::id(self.init, kind)? != namespace::id(own, kind)? {
                foreign.push(kind);
            }
        }
        Ok(foreign)
    }
}
