//! Where cases are played: a run's directory and a fake host, the same for every subject, and cleared after each case.

use std::path::PathBuf;

use kit::run::Run;
use kit::trouble::Trouble;
use serde_json::Value;

use crate::bundle;
use crate::case::Case;
use crate::document::{self, Place};
use crate::host::{self, Host};
use crate::life::Life;
use crate::observed::Observed;
use crate::side::Side;

/// Where cases are played.
#[derive(Debug)]
pub struct Stage {
    run: Run,
    host: Option<Host>,
}

impl Stage {
    /// Sets it up. From now on orphans come to this process, so that nothing that a subject leaves is lost.
    ///
    /// # Errors
    /// There is no run's directory to be had, or no fake host.
    pub fn new(seed: u64) -> Result<Self, Trouble> {
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok(Self { run: Run::begin_with(seed)?, host: None })
    }

    /// Plays a case on a subject. The number is a part of all names, which are the same for every subject.
    ///
    /// # Errors
    /// The harness's own: what a subject does wrong is observed.
    pub fn play(&mut self, number: u64, side: &Side, case: &Case) -> Result<Observed, Trouble> {
        let host = match self.host.take() {
            Some(host) => host,
            None => Host::new(self.run.id())?,
        };
        let host = self.host.insert(host);
        let tag = format!("{}{}-{number}", kit::run::PREFIX, self.run.id());
        let dir = self.run.dir().join(&tag);
        let (bundle, state) = (dir.join("bundle"), dir.join("state"));
        std::fs::create_dir_all(&state)?;
        let (id, host_pid) = (format!("{tag}-1"), host.fake.pid());
        let (bundle_text, host_text) = (bundle.display().to_string(), host_pid.to_string());
        let place = Place { id: &id, bundle: &bundle_text, host: &host_text, run: self.run.id() };
        let config = document::config(case, place);
        bundle::write(&self.run, &bundle, &case.rootfs, &side.told(&config))?;
        let (rootfs, volumes) = (bundle.join("rootfs"), bundle.join("volumes"));
        let before = [bundle::tree(&rootfs), bundle::tree(&volumes)];
        let null = bundle::null(&dir.join("null"))?;
        let life = Life {
            side,
            null: &null,
            place,
            bundle: bundle.clone(),
            state: state.clone(),
            through: host.fake.through(),
            namespaces: &host.namespaces,
            layout: &self.run.layout,
            config,
            seen: Observed::default(),
            keyring: None,
        };
        let mut seen = life.play(case)?;
        let alive = host::processes(self.run.id(), host_pid);
        seen.add("left", host::left(&self.run.layout, &tag, &alive, &state));
        host::sweep(&self.run.layout, self.run.id(), &tag, host_pid);
        let changed = host.changes()?;
        let is_changed = changed.as_object().is_some_and(|changes| !changes.is_empty());
        seen.add("left.host", changed);
        if is_changed {
            self.host = None;
        }
        seen.add("made.null", bundle::owner(&null)?.into());
        seen.add("made.rootfs", rooted(bundle::added(&before[0], &bundle::tree(&rootfs))));
        seen.add("made.volumes", rooted(bundle::added(&before[1], &bundle::tree(&volumes))));
        remove(dir)?;
        Ok(seen)
    }

    /// The configuration of a case as it is played; with words for what differs each time.
    pub fn config(case: &Case) -> Value {
        let place = Place { id: "by-hand", bundle: ".", host: "1", run: "by-hand" };
        document::config(case, place)
    }
}

/// The same with names that are paths, so that duplicates are known by them.
fn rooted(made: Value) -> Value {
    let fields = made.as_object().cloned().unwrap_or_default();
    Value::Object(fields.into_iter().map(|(path, value)| (format!("/{path}"), value)).collect())
}

fn remove(dir: PathBuf) -> Result<(), Trouble> {
    kit::remove::tree(&dir).map_err(|error| Trouble::Harness(format!("removing {}: {error}", dir.display())))
}
