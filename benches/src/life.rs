//! The steps of a container's life, each alone.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kit::run::Run;
use record::bench::{BASES, Measured};
use runtime::cgroup::Group;
use runtime::process::pidfd;

use crate::error::{Doing, Error};
use crate::paired::{Contestant, compare, timed, turns};
use crate::runtimes::{Runtime, bundle};
use crate::tiny;

/// Steps of a life, a program in a live container, and what the kernel needs for a group.
pub const LIFE: [&str; 6] = ["create", "start", "delete", "exec", "pause-resume", "group-make-remove"];

/// How long a program that does nothing may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// Measures one step: of our own core as the base, or, for `exec`, of the host.
///
/// # Errors
/// The base cannot be measured.
pub fn life(run: &Run, sides: &[String], name: &str, rounds: usize) -> Result<Measured, Error> {
    match name {
        "exec" | "pause-resume" => live(run, sides, name, rounds),
        "group-make-remove" => groups(run, name, rounds),
        step => steps(run, sides, step, rounds),
    }
}

/// A container's id, its bundle, and the file that its PID is written to.
struct Place {
    id: String,
    dir: PathBuf,
    pid: PathBuf,
}

impl Place {
    fn new(
        run: &Run,
        kind: &str,
        runtime: &str,
        write: fn(&Path) -> std::io::Result<()>,
    ) -> Result<Self, Error> {
        let dir = run.dir().join(format!("{kind}-{runtime}"));
        bundle(&dir, write)?;
        Ok(Self { id: format!("{}-{kind}-{runtime}", run.tag(0)), pid: dir.join("pid"), dir })
    }

    fn make(&self, command: &str) -> Vec<OsString> {
        let (bundle, pid): (OsString, OsString) = (self.dir.clone().into(), self.pid.clone().into());
        let mut words: Vec<OsString> =
            vec![command.into(), "--bundle".into(), bundle, "--pid-file".into(), pid];
        if command == "run" {
            words.push("--detach".into());
        }
        words.push(self.id.clone().into());
        words
    }
}

fn runtimes(run: &Run, sides: &[String]) -> Result<Vec<Runtime>, Error> {
    let mut all = Vec::new();
    for name in turns("core") {
        let mut core = Runtime::named(run, "core")?;
        core.name = name;
        all.push(core);
    }
    all.extend(Runtime::all(run, sides).into_iter().filter(|runtime| runtime.name != "core"));
    Ok(all)
}

fn steps(run: &Run, sides: &[String], step: &str, rounds: usize) -> Result<Measured, Error> {
    let mut contestants = Vec::new();
    for (number, runtime) in runtimes(run, sides)?.into_iter().enumerate() {
        let place = Place::new(run, "step", &number.to_string(), tiny::write_true)?;
        contestants.push(Contestant::new(runtime.name.clone(), move || whole(&runtime, &place, step)));
    }
    compare(step, "us", rounds, &mut contestants)
}

/// A whole life, of which one step is timed.
fn whole(runtime: &Runtime, place: &Place, step: &str) -> Result<f64, Error> {
    let id = place.id.as_str();
    let create = timed(|| runtime.call(&place.make("create")))?;
    let pid = std::fs::read_to_string(&place.pid).unwrap_or_default();
    let pid = pid.trim().parse().doing(|| place.pid.display())?;
    let process = pidfd::open(pid)?;
    let start = timed(|| runtime.call(&["start", id]))?;
    pidfd::wait_exit(process.as_fd(), ENDING)?;
    let delete = timed(|| runtime.call(&["delete", id]))?;
    Ok(match step {
        "create" => create,
        "start" => start,
        _ => delete,
    })
}

/// Containers that live while they are measured, and are gone when this is dropped.
struct Live {
    runtime: Runtime,
    id: String,
}

impl Live {
    fn new(runtime: Runtime, place: &Place) -> Result<Self, Error> {
        runtime.call(&place.make("run"))?;
        Ok(Self { runtime, id: place.id.clone() })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.runtime.call(&["delete", "--force", &self.id]);
    }
}

fn live(run: &Run, sides: &[String], name: &str, rounds: usize) -> Result<Measured, Error> {
    let program = run.dir().join("program");
    tiny::write_true(&program).doing(|| format!("writing {}", program.display()))?;
    let exec = name == "exec";
    let mut contestants = Vec::new();
    if exec {
        contestants = Contestant::bases("host", || || timed(|| spawn(&program)));
    }
    for (number, runtime) in runtimes(run, sides)?.into_iter().enumerate() {
        if exec && (1..BASES).contains(&number) {
            continue;
        }
        let place = Place::new(run, name, &number.to_string(), tiny::write_idle)?;
        tiny::write_true(&place.dir.join("rootfs/true")).doing(|| "writing the program of exec")?;
        let name = runtime.name.clone();
        let live = match Live::new(runtime, &place) {
            Ok(live) => live,
            Err(error) => {
                contestants.push(Contestant::new(name, move || Err(error.clone())));
                continue;
            }
        };
        contestants.push(Contestant::new(name, move || {
            timed(|| {
                if exec {
                    return live.runtime.call(&["exec", &live.id, "/true"]);
                }
                live.runtime.call(&["pause", &live.id])?;
                live.runtime.call(&["resume", &live.id])
            })
        }));
    }
    compare(name, "us", rounds, &mut contestants)
}

fn spawn(program: &Path) -> Result<(), Error> {
    let status = Command::new(program).stdin(Stdio::null()).status().doing(|| program.display())?;
    if status.success() { Ok(()) } else { Err(Error::new(format!("{}: {status}", program.display()))) }
}

/// A group on every hierarchy, made and removed; and with a process that joins it in between.
fn groups(run: &Run, name: &str, rounds: usize) -> Result<Measured, Error> {
    let idle = run.dir().join("idle");
    tiny::write_idle(&idle).doing(|| format!("writing {}", idle.display()))?;
    let once = |tag: String, joined: bool| {
        let idle = idle.clone();
        move || {
            timed(|| {
                let group = Group::plan(&run.layout, Path::new(&tag))?;
                group.make()?;
                let done = if joined { visit(&group, &idle) } else { Ok(()) };
                group.remove()?;
                done
            })
        }
    };
    let mut number = 0;
    let mut contestants = Contestant::bases("make, remove", || {
        number += 1;
        once(run.tag(number), false)
    });
    contestants.push(Contestant::new("make, join, remove", once(run.tag(4), true)));
    compare(name, "us", rounds, &mut contestants)
}

/// A process joins, and ends.
fn visit(group: &Group, idle: &Path) -> Result<(), Error> {
    let mut child = Command::new(idle).stdin(Stdio::null()).spawn().doing(|| idle.display())?;
    let joined = group.attach(child.id().cast_signed()).map_err(Error::from);
    let ended = child.kill().and_then(|()| child.wait()).doing(|| idle.display());
    joined.and(ended.map(drop))
}
