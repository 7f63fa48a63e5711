//! RUN: a container whose changes become a layer.

use std::io::Write;
use std::path::PathBuf;

use super::mounts::Mounts;
use super::{PREDEFINED, Stages, Work, chain, short};
use crate::builder::config::{command, set_variable, variable};
use crate::builder::copy::keep_upper;
use crate::builder::dockerfile::{Run, Step};
use crate::containers::{Attach, Create, Host, Wanted};
use crate::image::Descriptor;
use runtime::error::{Doing, Error, Result};

/// What a RUN starts.
struct Process {
    words: Vec<String>,
    env: Vec<String>,
    network: String,
}

/// A file that goes with its value.
struct Script(PathBuf);

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Where a here-document with `#!` lies while it runs; the place is the reference builder's.
fn script_path(name: &str) -> Result<String> {
    if name.contains('/') || matches!(name, "." | "..") {
        return Err(Error::new(format!("invalid name '{name}' of a here-document that is a script"))
            .remedy("it becomes a file's name: use letters and digits"));
    }
    Ok(format!("/dev/pipes/{name}"))
}

impl Stages<'_> {
    pub(super) fn run_step(
        &self,
        work: &mut Work,
        step: &Step,
        flags: &[(String, Option<String>)],
        run: &Run,
        number: usize,
    ) -> Result<()> {
        let words = match run {
            Run::Command(form) => command(&work.config.config, form),
            Run::File { name, .. } => vec![script_path(name)?],
        };
        let mut env: Vec<String> = Vec::new();
        for (name, value) in &work.args {
            // ENV wins over ARG of the same name.
            if variable(&work.config.config.env, name).is_none() {
                set_variable(&mut env, name, value);
            }
        }
        for name in PREDEFINED {
            if let Some(value) = self.build.args.get(*name) {
                set_variable(&mut env, name, value);
            }
        }
        let visible: Vec<&String> = env
            .iter()
            .filter(|entry| !PREDEFINED.iter().any(|name| entry.starts_with(&format!("{name}="))))
            .collect();
        let network = self.network_of(flags)?;
        let asked = self.asked(work, flags)?;
        let depends = self.mounts_key(&asked, number)?;
        let key = chain(&work.key, &["RUN", &format!("{words:?} {visible:?} {network} {run:?}"), &depends]);
        if self.reuse(work, &key)? {
            return Ok(());
        }
        let mounts = self.make_mounts(&asked, number)?;
        for (name, value) in &mounts.variables {
            set_variable(&mut env, name, value);
        }
        let done = self.execute(work, step, Process { words, env, network }, run, &mounts);
        let released = mounts.release(self.engine);
        let layer = done?;
        released?;
        self.add_layer(work, step, layer, &key)
    }

    fn network_of(&self, flags: &[(String, Option<String>)]) -> Result<String> {
        let mut network = self.build.network.clone();
        for (name, value) in flags {
            let value = value.as_deref().unwrap_or_default();
            match (name.as_str(), value) {
                ("mount", _) | ("network", "default") | ("security", "sandbox") => {}
                ("network", "none") => value.clone_into(&mut network),
                // A Dockerfile comes from elsewhere: it can do with less than the build was given, and not with more.
                ("network", "host") if self.build.network == "host" => {}
                ("network", "host") => {
                    return Err(Error::new("--network=host: the build was not given the host's network")
                        .remedy("`plim build --network host` gives it to all steps"));
                }
                _ => return Err(Error::new(format!("--{name}={value} is not supported"))),
            }
        }
        Ok(network)
    }

    /// Runs the command in a container, whose changes are the layer.
    fn execute(
        &self,
        work: &Work,
        step: &Step,
        process: Process,
        run: &Run,
        mounts: &Mounts,
    ) -> Result<Descriptor> {
        let Process { words, env, network } = process;
        let script = self.script(run)?;
        let mut mounts = mounts.wanted.clone();
        mounts.extend(script.as_ref().map(|file| Wanted::read_only_file(&file.0, &words[0])));
        let mut image = self.engine.store.put_unlisted(&work.config, work.layers.clone())?;
        // What a step writes where a volume will be belongs to the image.
        image.config.config.volumes.clear();
        let host = Host { network, ..Host::default() };
        let wanted = Create {
            image: "build".into(),
            command: words,
            entrypoint: Some(Vec::new()),
            env,
            mounts,
            host,
            build: true,
            ..Create::default()
        };
        let (record, claim) = self.engine.create_from(&image, wanted)?;
        self.say(&format!(" ---> Running in {}", &record.id[..12]));
        let attach = Attach { input: false, output: !self.build.quiet, size: None };
        let ended = match self.engine.start(&record, attach) {
            Ok(started) => started.ended(),
            Err((error, _)) => Err(error),
        };
        let outcome = match ended {
            Ok(0) => keep_upper(self.engine, &record),
            Ok(status) => {
                let mut said = String::new();
                if self.build.quiet {
                    said = self.last_words(&record);
                }
                Err(Error::new(format!("'{}' ended with exit status {status}{said}", short(&step.text))))
            }
            Err(error) => Err(error),
        };
        let removed = self.engine.discard(&record, claim);
        let layer = outcome?;
        removed?;
        Ok(layer)
    }

    /// A here-document that is executed as a file.
    fn script(&self, run: &Run) -> Result<Option<Script>> {
        use std::os::unix::fs::OpenOptionsExt;
        let Run::File { text, .. } = run else { return Ok(None) };
        let script = Script(self.engine.store.temporary("script"));
        std::fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(&script.0)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .doing(|| format!("writing {}", script.0.display()))?;
        Ok(Some(script))
    }

    /// The end of what a step said, for a build that shows nothing.
    fn last_words(&self, record: &crate::containers::Record) -> String {
        let mut text = Vec::new();
        let how = crate::containers::Follow { tail: Some(10), ..Default::default() };
        let _ = crate::containers::read_log(self.engine, record, how, |line| {
            text.extend(line.bytes);
            true
        });
        if text.is_empty() {
            String::new()
        } else {
            format!(":\n{}", String::from_utf8_lossy(&text).trim_end())
        }
    }
}
