//! Stages, one instruction after the other.

mod asked;
mod copy;
mod mounts;
mod order;
mod run;
mod workdir;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::config::{apply, variable};
use super::context::Context;
use super::dockerfile::{File, Op, Stage, Step};
use super::request::Build;
use super::words::expand;
use crate::containers::{Engine, PATH, now};
use crate::image::{Config, Descriptor, Digest, Image, Reference, Step as Past, architecture};
use crate::progress::Progress;
use runtime::error::{Error, Result};

/// Names that may be given as build arguments without being declared.
const PREDEFINED: &[&str] = &[
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// All of a build.
pub(super) struct Stages<'a> {
    engine: &'a Engine,
    context: &'a Context,
    build: &'a Build,
    file: &'a File,
    told: &'a dyn Progress,
    globals: BTreeMap<String, String>,
    used: RefCell<BTreeSet<String>>,
    done: BTreeMap<usize, Image>,
    steps: usize,
    step: usize,
}

/// One stage while it is being built.
struct Work {
    config: Config,
    layers: Vec<Descriptor>,
    /// What all so far depends on.
    key: Digest,
    args: BTreeMap<String, String>,
    /// Whether this stage has had a CMD.
    own_cmd: bool,
}

impl<'a> Stages<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        context: &'a Context,
        build: &'a Build,
        file: &'a File,
        told: &'a dyn Progress,
    ) -> Result<Self> {
        let mut stages = Self {
            engine,
            context,
            build,
            file,
            told,
            globals: BTreeMap::new(),
            used: RefCell::default(),
            done: BTreeMap::new(),
            steps: 0,
            step: 0,
        };
        for (name, value) in [
            ("TARGETPLATFORM", format!("linux/{}", architecture())),
            ("TARGETOS", "linux".to_owned()),
            ("TARGETARCH", architecture().to_owned()),
            ("BUILDPLATFORM", format!("linux/{}", architecture())),
            ("BUILDOS", "linux".to_owned()),
            ("BUILDARCH", architecture().to_owned()),
        ] {
            stages.globals.insert(name.to_owned(), value);
        }
        for step in &file.args {
            let Op::Arg(text) = &step.op else { continue };
            let declared = stages.declare(text, |name| stages.globals.get(name).cloned(), true);
            let declared = declared.map_err(|error| stages.at(step, &error))?;
            stages.globals.extend(declared.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
        Ok(stages)
    }

    pub(super) fn run(mut self) -> Result<Image> {
        let target = self.target()?;
        let wanted = self.needed(target)?;
        self.steps = wanted.iter().map(|number| 1 + self.file.stages[*number].steps.len()).sum();
        for number in wanted {
            let image = self.stage(&self.file.stages[number], number == target)?;
            self.done.insert(number, image);
        }
        let image = self.done.remove(&target).ok_or_else(|| Error::new("the last stage was not built"))?;
        for name in self.build.args.keys() {
            if !self.used.borrow().contains(name) && !PREDEFINED.contains(&name.as_str()) {
                self.told.warning(&format!("--build-arg {name} was not used: no ARG declares it"));
            }
        }
        let listed = self.engine.store.list(&image.entry, &self.build.tags)?;
        Ok(listed)
    }

    fn say(&self, text: &str) {
        self.told.line(text);
    }

    fn at(&self, step: &Step, error: &Error) -> Error {
        let word = step.text.split_whitespace().next().unwrap_or_default().to_uppercase();
        Error::new(format!("{}:{}: {word}: {error}", self.file.shown, step.line))
    }

    fn base_of(&self, stage: &Stage) -> Result<String> {
        let lookup = |name: &str| self.globals.get(name).cloned();
        let base = expand(&stage.base, self.file.escape, &lookup)
            .map_err(|error| Error::new(format!("{}:{}: FROM: {error}", self.file.shown, stage.line)))?;
        if base.is_empty() {
            return Err(Error::new(format!(
                "{}:{}: FROM {}: it names no image",
                self.file.shown, stage.line, stage.base
            ))
            .remedy("an ARG before FROM, or --build-arg, must give the variable a value"));
        }
        Ok(base)
    }

    fn stage(&mut self, stage: &Stage, is_last: bool) -> Result<Image> {
        let base = self.base_of(stage)?;
        let number = self.file.stages.iter().position(|other| std::ptr::eq(other, stage)).unwrap_or(0);
        self.begin(&format!("FROM {base}"));
        if let Some(platform) = &stage.platform {
            let platform = expand(platform, self.file.escape, &|name| self.globals.get(name).cloned())?;
            if platform != format!("linux/{}", architecture()) {
                return Err(Error::new(format!(
                    "{}:{}: FROM --platform={platform}: this machine is linux/{}",
                    self.file.shown,
                    stage.line,
                    architecture()
                )));
            }
        }
        let mut work = self.base(&base, number)?;
        // Every image has one, so that instructions may build upon it.
        if variable(&work.config.config.env, "PATH").is_none() {
            work.config.config.env.insert(0, PATH.to_owned());
        }
        self.say(&format!(" ---> {}", work.key.short()));
        let triggers = std::mem::take(&mut work.config.config.on_build);
        for trigger in triggers {
            let file = File::parse(&format!("FROM scratch\n{trigger}\n"), "ONBUILD")?;
            for step in &file.stages[0].steps {
                self.say(&format!("# executing the base image's trigger: {trigger}"));
                self.do_step(&mut work, step, number).map_err(|error| self.at(step, &error))?;
            }
        }
        for step in &stage.steps {
            self.begin(&step.text);
            self.do_step(&mut work, step, number).map_err(|error| self.at(step, &error))?;
        }
        if is_last {
            work.config.config.labels.extend(self.build.labels.clone());
        }
        self.engine.store.put_unlisted(&work.config, work.layers)
    }

    fn begin(&mut self, text: &str) {
        self.step += 1;
        self.say(&format!("Step {}/{} : {text}", self.step, self.steps));
    }

    fn base(&self, base: &str, number: usize) -> Result<Work> {
        let args = BTreeMap::new();
        if base == "scratch" {
            return Ok(Work {
                config: Config::empty(),
                layers: Vec::new(),
                key: Digest::of(b"scratch"),
                args,
                own_cmd: false,
            });
        }
        let by_name = self.file.stages[..number]
            .iter()
            .rposition(|other| other.name.as_deref() == Some(&*base.to_lowercase()));
        let image = match by_name.and_then(|number| self.done.get(&number)) {
            Some(image) => image.clone(),
            None => self.image(base)?,
        };
        let key = image.id().clone();
        Ok(Work { config: image.config, layers: image.manifest.layers, key, args, own_cmd: false })
    }

    /// An image that is here, or can be fetched.
    fn image(&self, name: &str) -> Result<Image> {
        match self.engine.store.find(name) {
            Ok(image) => Ok(image),
            #[cfg(feature = "registry")]
            Err(missing) => {
                use crate::image::registry::{Access, Registry};
                let reference: Reference = name.parse()?;
                let mut registry = Registry::open(&reference.registry, &Access::default())?;
                registry
                    .pull(&self.engine.store, &reference, self.told)
                    .map_err(|error| Error::new(format!("{missing}; {error}")))
            }
            #[cfg(not(feature = "registry"))]
            Err(missing) => {
                let _: Option<Reference> = None;
                Err(missing)
            }
        }
    }

    fn do_step(&self, work: &mut Work, step: &Step, number: usize) -> Result<()> {
        match &step.op {
            Op::Arg(text) => {
                let declared = {
                    let lookup = |name: &str| self.value(work, name);
                    self.declare(text, lookup, false)?
                };
                // One that is declared again without a value keeps the one that it has.
                work.args.extend(declared.into_iter().filter_map(|(name, value)| Some((name, value?))));
                past(&mut work.config, &step.text, true);
                work.key = chain(&work.key, &[&step.text, &format!("{:?}", work.args)]);
                Ok(())
            }
            Op::Run { flags, run } => self.run_step(work, step, flags, run, number),
            Op::Copy(copy) => self.copy_step(work, step, copy, number),
            op => {
                let lookup_args = work.args.clone();
                let env = work.config.config.env.clone();
                let lookup = |name: &str| variable(&env, name).or_else(|| lookup_args.get(name).cloned());
                if let Op::Maintainer(name) = op {
                    work.config.author = Some(name.clone());
                }
                work.own_cmd |= matches!(op, Op::Cmd(_));
                let mut config = work.config.clone();
                apply(&mut config.config, op, self.file.escape, &lookup, work.own_cmd)?;
                let text =
                    serde_json::to_string(&config.config).map_err(|error| Error::new(error.to_string()))?;
                let key = chain(&work.key, &[&step.text, &text]);
                // Even these are taken over, with their time: a build in which nothing changed gives the very same image.
                if self.reuse(work, &key)? {
                    return Ok(());
                }
                let layer = if let Op::Workdir(_) = op { self.make_workdir(work, &config)? } else { None };
                work.config = config;
                if let Some(layer) = layer {
                    return self.add_layer(work, step, layer, &key);
                }
                past(&mut work.config, &step.text, true);
                self.keep(work, &key)
            }
        }
    }

    fn value(&self, work: &Work, name: &str) -> Option<String> {
        variable(&work.config.config.env, name).or_else(|| work.args.get(name).cloned())
    }

    /// What an `ARG` declares: the value given on the command line, or its default one. In a stage, one without a default
    /// takes the value that it has before the first `FROM`.
    fn declare(
        &self,
        text: &str,
        lookup: impl Fn(&str) -> Option<String>,
        global: bool,
    ) -> Result<Vec<(String, Option<String>)>> {
        let mut all = Vec::new();
        for word in super::words::split_raw(text, self.file.escape)? {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name.to_owned(), Some(expand(default, self.file.escape, &lookup)?)),
                None => (word.clone(), None),
            };
            self.used.borrow_mut().insert(name.clone());
            let given = self.build.args.get(&name).cloned();
            let outer = || if global { None } else { self.globals.get(&name).cloned() };
            let value = given.or(default).or_else(outer);
            all.push((name, value));
        }
        Ok(all)
    }

    /// Takes over the result of an earlier build, if all that it depends on is the same.
    fn reuse(&self, work: &mut Work, key: &Digest) -> Result<bool> {
        if self.build.no_cache {
            return Ok(false);
        }
        let Some(cached) = self.engine.store.cached_step(key) else { return Ok(false) };
        let Ok(image) = self.engine.store.load(&cached.manifest) else { return Ok(false) };
        if !image.manifest.layers.iter().all(|layer| self.engine.store.has(&layer.digest)) {
            return Ok(false);
        }
        self.say(" ---> Using cache");
        work.config = image.config;
        work.layers = image.manifest.layers;
        work.key = key.clone();
        self.say(&format!(" ---> {}", work.key.short()));
        Ok(true)
    }

    fn add_layer(&self, work: &mut Work, step: &Step, layer: Descriptor, key: &Digest) -> Result<()> {
        work.config.rootfs.diff_ids.push(layer.digest.clone());
        work.layers.push(layer);
        past(&mut work.config, &step.text, false);
        self.keep(work, key)
    }

    /// Keeps what a step led to, for the next build.
    fn keep(&self, work: &mut Work, key: &Digest) -> Result<()> {
        work.key = key.clone();
        let image = self.engine.store.put_unlisted(&work.config, work.layers.clone())?;
        self.engine.store.cache_step(key, &image.entry)?;
        self.say(&format!(" ---> {}", work.key.short()));
        Ok(())
    }
}

/// Adds a step to an image's history.
fn past(config: &mut Config, text: &str, empty_layer: bool) {
    let created = now();
    config.created = Some(created.clone());
    config.history.push(Past {
        created: Some(created),
        created_by: Some(text.to_owned()),
        empty_layer,
        ..Past::default()
    });
}

/// What depends on something earlier and on more.
fn chain(key: &Digest, more: &[&str]) -> Digest {
    Digest::of(format!("{key}\n{}", more.join("\n")).as_bytes())
}

fn flag(flags: &[(String, Option<String>)], wanted: &str) -> Option<String> {
    flags.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.clone())
}

fn short(text: &str) -> String {
    if text.chars().count() > 120 { text.chars().take(119).chain(['…']).collect() } else { text.to_owned() }
}
