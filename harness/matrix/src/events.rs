//! What a run tells while it goes on, one line of JSON for each event. A guest tells it over a serial line that nothing
//! else uses.

use crate::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Mutex;

use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use record::{Outcome, Run, Verdict};
use serde::{Deserialize, Serialize};

/// One event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A guest's first process runs.
    Up {
        /// `uname -r`
        kernel: String,
    },
    /// The checks begin.
    Begin {
        /// How many verdicts will come.
        jobs: usize,
    },
    /// A verdict.
    Verdict {
        /// The check.
        check: String,
        /// The subject.
        subject: String,
        /// What is said.
        verdict: Verdict,
    },
    /// All is over.
    End {
        /// The record.
        run: Box<Run>,
    },
    /// A guest could not do what it was booted for.
    Broken {
        /// Why.
        reason: String,
    },
}

impl Event {
    /// A verdict as an event.
    pub fn of(outcome: &Outcome) -> Self {
        Event::Verdict {
            check: outcome.check.clone(),
            subject: outcome.subject.clone(),
            verdict: outcome.verdict,
        }
    }
}

/// Where events are written.
#[derive(Debug)]
pub struct EventStream(Mutex<File>);

impl EventStream {
    /// Opens a file or a device; a terminal is set to pass bytes unchanged.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let told = |error: std::io::Error| format!("--events {}: {error}", path.display());
        let file = File::options().append(true).create(true).open(path).map_err(told)?;
        if let Ok(mut settings) = tcgetattr(file.as_fd()) {
            cfmakeraw(&mut settings);
            tcsetattr(file.as_fd(), SetArg::TCSANOW, &settings).map_err(|error| told(error.into()))?;
        }
        Ok(Self(Mutex::new(file)))
    }

    /// Writes an event. The reader may be gone, which does not end the run.
    pub fn tell(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        let _ = self.0.lock().expect("no thread panics here").write_all(&line);
    }
}
