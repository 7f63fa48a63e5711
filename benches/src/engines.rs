//! Commands of engines, as a user types them: from the start of the command to its end.

use std::fs;

use kit::engine::{BASE, EngineFixture};
use kit::run::Run;
use kit::verbs::files;
use record::bench::Measured;
use subject::Subject;

use crate::error::{Doing, Error};
use crate::paired::{Contestant, compare, timed};

/// What is asked of engines.
pub const ENGINES: [&str; 5] =
    ["engine-run", "engine-exec", "engine-commit", "engine-build", "engine-update"];

/// Rounds of what takes a good part of a second.
const MOST_ROUNDS: usize = 12;

/// Measures a command of our own engine as the base, and of every engine among the sides.
///
/// # Errors
/// The base cannot be measured.
pub fn engines(run: &Run, sides: &[String], name: &str, rounds: usize) -> Result<Measured, Error> {
    let core = Subject::core()?;
    let base = Ready::new(run, &core, name, 0)?;
    let mut others = Vec::new();
    for (number, side) in
        sides.iter().enumerate().filter(|(_, side)| !matches!(side.as_str(), "core" | "plim"))
    {
        // What is no engine has no part in this.
        let Ok(subject) = Subject::named(side) else { continue };
        if subject.engine.as_ref().is_some_and(|engine| engine.has_docker_commands()) {
            others.push((side.clone(), Ready::new(run, &subject, name, number + 1)));
        }
    }
    let mut contestants = Contestant::bases("plim", || || base.once());
    for (side, ready) in &others {
        contestants.push(Contestant::new(side.clone(), move || match ready {
            Ok(ready) => ready.once(),
            Err(error) => Err(error.clone()),
        }));
    }
    compare(name, "us", rounds.min(MOST_ROUNDS), &mut contestants)
}

/// An engine with all that its command needs.
struct Ready<'r> {
    engine: EngineFixture<'r>,
    command: &'r str,
    container: String,
}

impl<'r> Ready<'r> {
    fn new(run: &'r Run, subject: &Subject, command: &'r str, number: usize) -> Result<Self, Error> {
        let engine =
            subject.engine.as_ref().ok_or_else(|| Error::new(format!("{} is no engine", subject.name())))?;
        let tag = format!("{}e{number}", run.tag(0));
        let engine = EngineFixture::new(run, engine, None, None, &tag)?;
        engine.base()?;
        let container = match command {
            "engine-run" | "engine-build" => String::new(),
            _ => engine.up(&["--network", "none"], BASE)?,
        };
        let context = engine.directory("context")?;
        fs::write(context.join("file"), "of the context").doing(|| "writing the context")?;
        let text = format!("FROM {BASE}\nCOPY file /file\nRUN [\"/probe\", \"true\"]\n");
        fs::write(context.join("Dockerfile"), text).doing(|| "writing the context")?;
        Ok(Self { engine, command, container })
    }

    /// The command, once, in microseconds.
    fn once(&self) -> Result<f64, Error> {
        let say = |words: &[&str]| -> Result<(), Error> { Ok(self.engine.command(words).map(drop)?) };
        match self.command {
            "engine-run" => timed(|| say(&["run", "--rm", "--network", "none", BASE, "/probe", "true"])),
            "engine-exec" => timed(|| say(&["exec", &self.container, "/probe", "true"])),
            "engine-update" => timed(|| say(&["update", "--cpu-shares", "512", &self.container])),
            "engine-commit" => {
                let change = files::write("/made", "of the container");
                self.engine.exec(&self.container, change)?;
                let took = timed(|| say(&["commit", &self.container, "committed"]))?;
                say(&["rmi", "committed"])?;
                Ok(took)
            }
            _ => {
                let context = self.engine.text("context");
                let took = timed(|| say(&["build", "--no-cache", "-t", "built", &context]))?;
                say(&["rmi", "built"])?;
                Ok(took)
            }
        }
    }
}
