//! The least that a container can cost: a command that is started, namespaces, a new root and execve, perhaps control groups,
//! nothing else. Whoever starts a container by a runtime starts the runtime's command first, so the floor starts one too, which does
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

/// The name under which this program is the one that starts it.
const NAME: &str = "plimsoll-floor";

/// Is that program, if it was called by that name.
pub fn dispatch() -> Option<ExitCode> {
    (std::env::args_os().next()? == NAME).then(main)
}

/// Starts it whenever it is asked to, by a line, and answers with the microseconds that it took, or with an error.
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [lower, group @ ..] = words.as_slice() else { return ExitCode::from(2) };
    let floor = Layout::detect()
        .map_err(|error| error.to_string())
        .and_then(|layout| Floor::new(&layout, Path::new(lower), group.first().map(String::as_str)));
    for _ in std::io::stdin().lock().lines() {
        let start = Instant::now();
        let ran = floor.as_ref().map_err(Clone::clone).and_then(|floor| {
            command(&floor.lower)?;
            floor.run(PROGRAM)
        });
        let answer = match ran {
            Ok(()) => format!("{}", start.elapsed().as_secs_f64() * 1e6),
            Err(error) => error,
        };
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// A command that does nothing: what a runtime takes at least, as a program that is started by vfork and execve.
fn command(lower: &Path) -> Result<(), String> {
    let program = lower.join(PROGRAM.trim_start_matches('/'));
    let status = Command::new(&program).stdin(Stdio::null()).status();
    match status.map_err(|error| format!("{}: {error}", program.display()))? {
        ended if ended.success() => Ok(()),
        ended => Err(format!("{}: {ended}", program.display())),
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
    pub fn new(lower: &Path, group: Option<&str>) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("starting {NAME}: {error}");
        let mut command = Command::new(std::env::current_exe().map_err(told)?);
        command.arg0(NAME).arg(lower).args(group).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(told)?;
        let answers = BufReader::new(child.stdout.take().expect("started with a pipe"));
        Ok(Self { asking: child.stdin.take(), answers, child })
    }

    /// Microseconds from its start to its end.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn run(&mut self) -> Result<f64, String> {
        let asked = self.asking.as_mut().map_or(Ok(()), |asking| asking.write_all(b"\n"));
        let mut answer = String::new();
        let heard = asked.and_then(|()| self.answers.read_line(&mut answer));
        heard.map_err(|error| format!("asking {NAME}: {error}"))?;
        answer.trim().parse().map_err(|_| answer.trim().to_owned())
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
    fn new(layout: &Layout, lower: &Path, group: Option<&str>) -> Result<Self, String> {
        let (mut groups, mut sets, mut unified) = (Vec::new(), Vec::new(), None);
        if let Some(name) = group {
            let planned = Group::plan(layout, Path::new(name)).map_err(|error| error.to_string())?;
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
                let set =
                    fs::read_to_string(&above).map_err(|error| format!("{}: {error}", above.display()))?;
                sets.push((part.dir.join(file), set));
            }
        }
        Ok(Self { lower: lower.to_owned(), groups, sets, unified })
    }

    /// Starts a program in all namespaces but the user's and waits for its end.
    ///
    /// # Errors
    /// The kernel refuses, or the program failed.
    fn run(&self, program: &str) -> Result<(), String> {
        let told = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let dirs = || self.groups.iter().map(|(dir, _)| dir).chain(&self.unified);
        for dir in dirs() {
            fs::create_dir(dir).map_err(|error| told(&dir.display().to_string(), &error))?;
        }
        for (file, set) in &self.sets {
            fs::write(file, set).map_err(|error| told(&file.display().to_string(), &error))?;
        }
        let ended = self.start(program);
        for dir in dirs() {
            fs::remove_dir(dir).map_err(|error| told(&dir.display().to_string(), &error))?;
        }
        ended
    }

    fn start(&self, program: &str) -> Result<(), String> {
        let flags = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP;
        let path = CString::new(program).map_err(|error| format!("the program: {error}"))?;
        let unified = self.unified.as_ref().map(fs::File::open).transpose();
        let unified = unified.map_err(|error| format!("opening the group: {error}"))?;
        let unified = unified.as_ref().map(AsFd::as_fd);
        // SAFETY: the caller has one thread; the child executes or ends at once.
        let child = match unsafe { clone3(flags, unified) }.map_err(|error| format!("clone3: {error}"))? {
            Side::Parent(child) => child,
            Side::Child => {
                let text = self.become_program(&path).err().unwrap_or_default();
                let _ = nix::unistd::write(std::io::stderr(), text.as_bytes());
                // SAFETY: ends the child alone.
                unsafe { libc::_exit(111) }
            }
        };
        match pidfd::reap(&child.pidfd).map_err(|error| format!("waiting: {error}"))? {
            0 => Ok(()),
            status => Err(format!("the program ended with {status}")),
        }
    }

    fn become_program(&self, path: &CString) -> Result<(), String> {
        for (_, join) in &self.groups {
            fs::write(join, "0").map_err(|error| format!("{}: {error}", join.display()))?;
        }
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(|error| error.to_string())?;
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(&self.lower), &self.lower, None::<&str>, bind, None::<&str>)
            .map_err(|error| format!("bind mount of {}: {error}", self.lower.display()))?;
        switch::pivot(&self.lower).map_err(|error| error.to_string())?;
        let none: [CString; 0] = [];
        nix::unistd::execve(path, std::slice::from_ref(path), &none).map_err(|error| {
            format!("execve {}: {error}", Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).display())
        })?;
        Ok(())
    }
}
