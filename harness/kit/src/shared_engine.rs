//! A daemon that is the user's: what a run makes there carries its label, and is found and removed by it, whatever became of the run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use subject::{Engine, Place};

use crate::run::Run;
use crate::trouble::{Doing, Trouble};

/// The label of everything that a run makes in an engine.
pub(crate) fn label(run: &str) -> String {
    format!("plimsoll.run={run}")
}

/// How the engine is asked, as it is kept in the directory of a run that may be killed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shared {
    program: PathBuf,
    options: Vec<OsString>,
    variables: Vec<(String, PathBuf)>,
}

const FILE: &str = "shared-engine.json";

impl Shared {
    pub(crate) fn of(engine: &dyn Engine, place: &Place) -> Self {
        let variables = engine.variables(place).into_iter();
        Self {
            program: engine.program().path().to_owned(),
            options: engine.options(place),
            variables: variables.map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// Writes it into the directory of a run, before anything is made. All checks of a run write the same.
    pub(crate) fn remember(&self, run: &Run) -> Result<(), Trouble> {
        let file = run.dir().join(FILE);
        if !file.exists() {
            // Nobody ever sees half of it.
            let aside = run.dir().join(format!("{FILE}-{:?}", std::thread::current().id()));
            std::fs::write(&aside, serde_json::to_vec(self)?)?;
            std::fs::rename(aside, file)?;
        }
        Ok(())
    }

    /// The one of a run's directory, if it used any.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Removes containers and images with the label of a run; says what was removed, and what could not be.
    pub(crate) fn remove(&self, run: &str, done: &mut Vec<String>, failed: &mut Vec<String>) {
        let filter = format!("label={}", label(run));
        for (what, list, remove) in [
            (
                "container",
                vec!["ps", "-a", "--format", "{{.Names}}", "--filter", &filter],
                vec!["rm", "-f", "-v"],
            ),
            (
                "image",
                vec!["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", &filter],
                vec!["rmi"],
            ),
        ] {
            let listed = match self.say(&list) {
                Ok(listed) => listed,
                Err(error) => {
                    failed.push(format!("listing what run {run} left in the engine: {}", error.into_text()));
                    continue;
                }
            };
            for name in listed.lines() {
                match self.say(&[&remove[..], &[name]].concat()) {
                    Ok(_) => done.push(format!("{what} {name}")),
                    Err(error) => failed.push(format!("{what} {name}: {}", error.into_text())),
                }
            }
        }
    }

    fn say(&self, words: &[&str]) -> Result<String, Trouble> {
        let mut command = Command::new(&self.program);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let output = command.args(&self.options).args(words).stdin(Stdio::null()).output();
        let output = output.doing(self.program.display())?;
        if !output.status.success() {
            return Err(Trouble::Subject(subject::complaint(&output)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
