//! The least that a container can cost: a command that is started, namespaces, a new root and execve, perhaps control groups,
//! nothing else. Starting a container with a runtime starts the runtime's command first, so the floor starts one too, which does
//! nothing. The root is a bind mount, as runtimes make it.
//!
//! It is started by a process of its own, for a clone copies what its parent has, and that of the benchmarks has much.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use runtime::cgroup::{Group, Layout, Version};
use runtime::process::clone::{Side, clone3};
use runtime::process::pidfd;
use runtime::rootfs::switch;
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error};

/// The name under which this program is the one that starts it.
const NAME: &str = "plimsoll-floor";

/// Is that program, if it was called by that name.
pub fn dispatch() -> Option<ExitCode> {
    (std::env::args_os().next()? == NAME).then(main)
}

/// What the process that starts it answers, as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// So many microseconds.
    Took(f64),
    /// Why it could not be started.
    Failed(String),
}

/// Starts it whenever it is asked to, by a line, and answers.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [lower, group @ ..] = words.as_slice() else { return ExitCode::from(2) };
    let floor = Layout::detect()
        .map_err(Error::from)
        .and_then(|layout| Floor::new(&layout, Path::new(lower), group.first().map(String::as_str)));
    for _ in std::io::stdin().lock().lines() {
        let start = Instant::now();
        let ran = floor.as_ref().map_err(Clone::clone).and_then(|floor| {
            command(&floor.lower)?;
            floor.run(PROGRAM)
        });
        let answer = match ran {
            Ok(()) => Answer::Took(start.elapsed().as_secs_f64() * 1e6),
            Err(error) => Answer::Failed(error.to_string()),
        };
        let mut out = std::io::stdout().lock();
        let written = serde_json::to_writer(&mut out, &answer).map_err(std::io::Error::from);
        if written.and_then(|()| writeln!(out)).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// A command that does nothing: what a runtime takes at least, as a program that is started by vfork and execve.
fn command(lower: &Path) -> Result<(), Error> {
    let program = lower.join(PROGRAM.trim_start_matches('/'));
    let status = Command::new(&program).stdin(Stdio::null()).status();
    match status.doing(|| program.display())? {
        ended if ended.success() => Ok(()),
        ended => Err(Error::new(format!("{}: {ended}", program.display()))),
    }
}

/// What it starts, in the root file system.
const PROGRAM: &str = "/program";

/// The process that starts it; ended when dropped.
#[derive(Debug)]
pub struct Starter {
    child: Child,
    asking: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Starter {
    /// In a root file system, perhaps with a group of this name on every hierarchy.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn new(lower: &Path, group: Option<&str>) -> Result<Self, Error> {
        let doing = || format!("starting {NAME}");
        let mut command = Command::new(std::env::current_exe().doing(doing)?);
        command.arg0(NAME).arg(lower).args(group).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().doing(doing)?;
        let answers = BufReader::new(child.stdout.take().expect("started with a pipe"));
        Ok(Self { asking: child.stdin.take(), answers, child })
    }

    /// Microseconds from its start to its end.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn run(&mut self) -> Result<f64, Error> {
        let asked = self.asking.as_mut().map_or(Ok(()), |asking| asking.write_all(b"\n"));
        let mut answer = String::new();
        let heard = asked.and_then(|()| self.answers.read_line(&mut answer));
        heard.doing(|| format!("asking {NAME}"))?;
        match serde_json::from_str(&answer).doing(|| format!("asking {NAME}"))? {
            Answer::Took(micros) => Ok(micros),
            Answer::Failed(error) => Err(Error::new(error)),
        }
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        self.asking = None;
        let _ = self.child.wait();
    }
}

/// What is known before the start.
#[derive(Debug)]
struct Floor {
    lower: PathBuf,
    /// Directories of its groups, and the file of each by which a process moves itself in.
    groups: Vec<(PathBuf, PathBuf)>,
    /// What must be written before anybody can join: a fresh cpuset of v1 has no CPUs and no memory.
    sets: Vec<(PathBuf, String)>,
    /// The group of the second generation, into which a process can be cloned.
    unified: Option<PathBuf>,
}

impl Floor {
    /// In a root file system, and with a group of this name on every hierarchy of the host.
    ///
    /// # Errors
    /// No hierarchy is mounted.
    fn new(layout: &Layout, lower: &Path, group: Option<&str>) -> Result<Self, Error> {
        let (mut groups, mut sets, mut unified) = (Vec::new(), Vec::new(), None);
        if let Some(name) = group {
            let planned = Group::plan(layout, Path::new(name))?;
            // A thread that moves itself alone waits for nobody, see cgroup_threadgroup_rwsem in the kernel.
            for part in planned.parts() {
                match part.hierarchy.version {
                    Version::V1 => groups.push((part.dir.clone(), part.dir.join("tasks"))),
                    Version::V2 => unified = Some(part.dir.clone()),
                }
            }
            let needy = planned
                .parts()
                .iter()
                .filter(|part| part.hierarchy.version == Version::V1 && part.hierarchy.owns("cpuset"));
            for (part, file) in needy.flat_map(|part| ["cpuset.cpus", "cpuset.mems"].map(|file| (part, file)))
            {
                let above = part.dir.parent().unwrap_or(&part.dir).join(file);
                let set = fs::read_to_string(&above).doing(|| above.display())?;
                sets.push((part.dir.join(file), set));
            }
        }
        Ok(Self { lower: lower.to_owned(), groups, sets, unified })
    }

    /// Starts a program in all namespaces but the user's and waits for its end.
    ///
    /// # Errors
    /// The kernel refuses, or the program failed.
    fn run(&self, program: &str) -> Result<(), Error> {
        let dirs = || self.groups.iter().map(|(dir, _)| dir).chain(&self.unified);
        for dir in dirs() {
            fs::create_dir(dir).doing(|| dir.display())?;
        }
        for (file, set) in &self.sets {
            fs::write(file, set).doing(|| file.display())?;
        }
        let ended = self.start(program);
        for dir in dirs() {
            fs::remove_dir(dir).doing(|| dir.display())?;
        }
        ended
    }

    fn start(&self, program: &str) -> Result<(), Error> {
        let flags = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP;
        let path = CString::new(program).doing(|| "the program")?;
        let unified = self.unified.as_ref().map(fs::File::open).transpose();
        let unified = unified.doing(|| "opening the group")?;
        let unified = unified.as_ref().map(AsFd::as_fd);
        // SAFETY: the caller has one thread; the child executes or ends at once.
        let child = match unsafe { clone3(flags, unified) }.doing(|| "clone3")? {
            Side::Parent(child) => child,
            Side::Child => {
                if let Err(error) = self.become_program(&path) {
                    let _ = nix::unistd::write(std::io::stderr(), error.to_string().as_bytes());
                }
                // SAFETY: ends the child alone.
                unsafe { libc::_exit(111) }
            }
        };
        match pidfd::reap(&child.pidfd).doing(|| "waiting")? {
            0 => Ok(()),
            status => Err(Error::new(format!("the program ended with {status}"))),
        }
    }

    fn become_program(&self, path: &CString) -> Result<(), Error> {
        for (_, join) in &self.groups {
            fs::write(join, "0").doing(|| join.display())?;
        }
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).doing(|| "making / private")?;
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(&self.lower), &self.lower, None::<&str>, bind, None::<&str>)
            .doing(|| format!("bind mount of {}", self.lower.display()))?;
        switch::pivot(&self.lower)?;
        let none: [CString; 0] = [];
        nix::unistd::execve(path, std::slice::from_ref(path), &none).doing(|| {
            format!("execve {}", Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).display())
        })?;
        Ok(())
    }
}
