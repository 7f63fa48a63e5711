//! The life of one container: create, start, what is seen inside, operations, its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kit::trouble::Trouble;
use nix::unistd::Pid;
use probe::channel::{self, Channel};
use probe::verbs::look;
use probe::verbs::snapshot::{Snapshot, TakeSnapshot, snapshot};
use probe::{Ask, Reply};
use runtime::cgroup::Layout;
use runtime::process::pidfd;
use serde_json::Value;
use subject::Through;

use crate::case::{Case, Step};
use crate::command::{self, Ended, LIMIT, Running};
use crate::document::{self, Place};
use crate::host;
use crate::normal::normal;
use crate::observed::Observed;
use crate::side::Side;

/// All that a container's life needs.
#[derive(Debug)]
pub(crate) struct Life<'a> {
    pub(crate) side: &'a Side,
    /// What commands have as their standard input.
    pub(crate) null: &'a File,
    pub(crate) place: Place<'a>,
    pub(crate) bundle: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) through: Through,
    /// The identities of the host's namespaces.
    pub(crate) namespaces: &'a BTreeMap<String, u64>,
    pub(crate) layout: &'a Layout,
    pub(crate) config: Value,
    pub(crate) seen: Observed,
    /// The session keyring of the first process.
    pub(crate) keyring: Option<String>,
}

/// A container's first process, and the way to the probe in it.
struct Inside {
    channel: Channel,
    pid: i32,
    process: OwnedFd,
}

impl Life<'_> {
    /// Plays it from its beginning to its end.
    pub(crate) fn play(mut self, case: &Case) -> Result<Observed, Trouble> {
        let Some(mut inside) = self.create()? else {
            return Ok(self.seen);
        };
        if self.operation("start", &["start", self.place.id])? == Ended::Done {
            self.look(&mut inside)?;
            for (number, step) in case.steps.iter().enumerate() {
                self.step(number + 1, step, inside.pid)?;
            }
        }
        self.end(inside)?;
        Ok(self.seen)
    }

    fn command(&self, words: &[&str]) -> Result<Command, Trouble> {
        let mut command = self.side.runtime.command(Some(&self.through), &self.state);
        command.env(kit::run::RUN_VARIABLE, self.place.run).args(words).stdin(self.null.try_clone()?);
        Ok(command)
    }

    fn operation(&mut self, name: &str, words: &[&str]) -> Result<Ended, Trouble> {
        let ran = command::run(self.command(words)?)?;
        self.note(name, ran.ended, &ran.said);
        Ok(ran.ended)
    }

    fn note(&mut self, name: &str, ended: Ended, said: &str) {
        self.seen.operations.push((name.to_owned(), ended, said.trim().to_owned()));
    }

    /// `create`; nothing if it was refused.
    fn create(&mut self) -> Result<Option<Inside>, Trouble> {
        let (bundle, pid_file) = (self.place.bundle.to_owned(), self.bundle.join("pid"));
        let mut command = self.command(&["create", "--bundle", &bundle, "--pid-file"])?;
        command.arg(&pid_file).arg(self.place.id).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(command)?;
        let channel = Channel::new(&mut running.child)?;
        let (ended, said) = running.wait()?;
        self.note("create", ended, &said);
        if ended != Ended::Done {
            return Ok(None);
        }
        let pid = std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok());
        match pid.map(|pid| (pid, pidfd::open(pid))) {
            Some((pid, Ok(process))) => {
                // While it waits for `start` it cannot end.
                self.seen.add("host.groups", host::limits(self.layout, pid));
                self.seen.add("host.process", host::process(pid));
                Ok(Some(Inside { channel, pid, process }))
            }
            _ => {
                self.note("pid-file", Ended::Silent, "it names no process");
                Ok(None)
            }
        }
    }

    /// What can be seen from inside of the container that runs.
    fn look(&mut self, inside: &mut Inside) -> Result<(), Trouble> {
        if self.config["process"]["args"].as_array().is_some_and(|args| args.len() > 2) {
            // With more words it says first that it is there.
            let said = self.answer(inside, &look::alive())?;
            if said.is_none() {
                return Ok(());
            }
        }
        let paths = self.paths();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let request = snapshot(&paths);
        if let Err(error) = inside.channel.tell(&request) {
            self.note("application", Ended::Silent, &error.to_string());
            return Ok(());
        }
        if let Some(seen) = self.answer(inside, &request)? {
            self.keyring = keyring(&seen);
            self.seen.add("inside", normal(&seen, self.namespaces, &self.config));
        }
        Ok(())
    }

    /// An answer of the probe inside; that none comes is an observation.
    fn answer<A: Ask>(&mut self, inside: &mut Inside, request: &A) -> Result<Option<A::Answer>, Trouble> {
        if !inside.channel.is_ready(LIMIT)? {
            self.note("application", Ended::Hung, "the probe does not answer");
            return Ok(None);
        }
        match inside.channel.answer(request) {
            Ok(answer) => Ok(Some(answer)),
            Err(channel::Error::Channel(text)) => Err(Trouble::Harness(text)),
            Err(error) => {
                self.note("application", Ended::Silent, &error.to_string());
                Ok(None)
            }
        }
    }

    /// The paths that the configuration speaks of.
    fn paths(&self) -> Vec<String> {
        let linux = &self.config["linux"];
        let texts = |list: &Value| -> Vec<String> {
            list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let named = |list: &Value, name: &str| -> Vec<String> {
            let elements = list.as_array().into_iter().flatten();
            elements.filter_map(|element| element[name].as_str()).map(str::to_owned).collect()
        };
        let usual = ["/", "/etc", "/proc/sys/kernel", "/proc/sysrq-trigger"].map(str::to_owned).to_vec();
        let mut all = [
            usual,
            texts(&linux["maskedPaths"]),
            texts(&linux["readonlyPaths"]),
            named(&self.config["mounts"], "destination"),
            named(&linux["devices"], "path"),
        ]
        .concat();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn step(&mut self, number: usize, step: &Step, pid: i32) -> Result<(), Trouble> {
        let name = format!("{number} {}", step.command());
        let id = self.place.id.to_owned();
        match step {
            Step::Exec(edits) => {
                let file = self.write("process.json", &document::process(&self.config, edits, self.place))?;
                let ran = command::run(self.command(&["exec", "--process", &file, &id])?)?;
                self.note(&name, ran.ended, &ran.said);
                match channel::printed(take(), &ran.out) {
                    Ok(seen) => {
                        let same = self.keyring.is_some() && self.keyring == keyring(&seen);
                        self.seen.add(&format!("exec{number}.same_keyring"), same.into());
                        self.seen.add(&format!("exec{number}"), normal(&seen, self.namespaces, &self.config));
                    }
                    Err(_) if ran.ended != Ended::Done => {}
                    Err(error) => self.note(&format!("{name}'s program"), Ended::Silent, &error.to_string()),
                }
                Ok(())
            }
            Step::Update(resources) => {
                let file = self.write("resources.json", resources)?;
                let before = host::limits(self.layout, pid);
                self.operation(&name, &["update", "--resources", &file, &id])?;
                let after = host::limits(self.layout, pid);
                self.seen.add(&format!("update{number}"), host::changed(&before, &after));
                Ok(())
            }
            Step::State => {
                let ran = command::run(self.command(&["state", &id])?)?;
                self.note(&name, ran.ended, &ran.said);
                let state: Value = serde_json::from_str(&ran.out).unwrap_or_default();
                for field in ["id", "status", "bundle", "annotations"] {
                    self.seen.add(&format!("state{number}.{field}"), state[field].clone());
                }
                Ok(())
            }
            Step::Kill(signal) => self.operation(&name, &["kill", &id, signal]).map(drop),
            Step::Pause | Step::Resume | Step::Start | Step::Delete => {
                self.operation(&name, &[step.command(), &id]).map(drop)
            }
        }
    }

    fn write(&self, name: &str, document: &Value) -> Result<String, Trouble> {
        let file = self.bundle.join(name);
        std::fs::write(&file, serde_json::to_vec_pretty(document)?)?;
        Ok(file.display().to_string())
    }

    /// The probe's end, and `delete`.
    fn end(&mut self, mut inside: Inside) -> Result<(), Trouble> {
        inside.channel.hang_up();
        let started = self.seen.ended("start") == Some(Ended::Done);
        if started && pidfd::wait_exit(inside.process.as_fd(), LIMIT)? {
            reap(inside.pid);
            self.operation("delete", &["delete", self.place.id])?;
            return Ok(());
        }
        if started {
            self.note("end", Ended::Hung, "the application does not end when its standard input does");
        }
        self.operation("delete --force", &["delete", "--force", self.place.id])?;
        pidfd::wait_exit(inside.process.as_fd(), LIMIT)?;
        reap(inside.pid);
        Ok(())
    }
}

/// The session keyring, if it could be seen.
fn keyring(seen: &Snapshot) -> Option<String> {
    match &seen.keyring {
        Reply::Ok(told) => Some(told.clone()),
        Reply::Error(_) => None,
    }
}

/// The request whose answer an exec'd probe prints.
fn take() -> TakeSnapshot {
    snapshot(&["/"])
}

/// A container that its runtime has left is a child of this process.
fn reap(pid: i32) {
    let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), Some(nix::sys::wait::WaitPidFlag::WNOHANG));
}
