//! Starting a container, and how that ends.

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use probe::channel::Channel;
use probe::verbs::look;

use super::container::Container;
use super::driver::Driver;
use crate::patience::{PATIENCE, wait_for, wait_within};
use crate::trouble::Trouble;

/// How the start of a container ended.
#[derive(Debug)]
pub enum Started {
    /// The probe inside answers.
    Runs(Container),
    /// The subject ended, or had to be ended, before the probe answered.
    Refused(Refusal),
}

impl Started {
    /// The container, where it must run.
    ///
    /// # Errors
    /// It was refused.
    pub fn running(self) -> Result<Container, Trouble> {
        match self {
            Self::Runs(container) => Ok(container),
            Self::Refused(refusal) => Err(refusal.into_trouble()),
        }
    }
}

/// How a subject refused to start a container.
#[derive(Debug, Clone)]
pub struct Refusal {
    subject: String,
    /// Exit status of the subject; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Whether it ended by itself, soon enough.
    pub in_time: bool,
    /// What it wrote to its standard error.
    pub said: String,
    answer: String,
}

impl Refusal {
    /// Whether it is an error that the subject itself decided on: a status of its own and a reason, in time. A hang, a crash, a
    /// panic of Rust's (101) and an end without a word are not.
    pub fn is_clear(&self) -> bool {
        let own = self.status.is_some_and(|status| (1..=127).contains(&status) && status != 101);
        self.in_time && own && !self.said.is_empty()
    }

    /// The same as an error, where a container had to start.
    pub fn into_trouble(self) -> Trouble {
        let told = match (self.in_time, self.said.is_empty(), self.status) {
            (true, false, _) => self.said.clone(),
            (true, true, Some(status)) => {
                format!("{}; its exit status is {status}, without a word", self.answer)
            }
            (true, true, None) => format!("{}; a signal ended it", self.answer),
            (false, ..) => format!("{self} ({})", self.answer),
        };
        Trouble::Subject(format!("{} could not run a container: {told}", self.subject))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.in_time {
            return write!(f, "no end within {PATIENCE:?}: {}", self.said);
        }
        match self.status {
            Some(status) => write!(f, "exit status {status}: {}", self.said),
            None => write!(f, "ended by a signal: {}", self.said),
        }
    }
}

impl Container {
    /// Runs a bundle whose application is `/probe serve`, and waits until it answers or the subject has ended.
    pub(crate) fn attempt(
        driver: Driver,
        bundle: &Path,
        id: &str,
        flags: &[&str],
    ) -> Result<Started, Trouble> {
        let begun = Instant::now();
        let (mut child, pid_file, errors) = driver.spawn_run(bundle, id, flags)?;
        let mut channel = Channel::new(&mut child)?;
        let Err(error) = channel.ask(look::alive()) else {
            let pid = driver.way.pid(id, &pid_file)?;
            let rootfs = driver.way.rootfs(bundle, pid);
            return Ok(Started::Runs(Self {
                driver,
                id: id.to_owned(),
                pid,
                rootfs,
                child,
                channel,
                errors,
            }));
        };
        // The container may end a moment before the subject says why.
        channel.hang_up();
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let waited = wait_for(child.id().cast_signed(), "run", left);
        let in_time = waited.is_ok();
        let status = child.wait()?.code();
        if !in_time {
            // What hung may have left a process that nobody waits for.
            let _ = driver.call(&["delete", "--force", id]);
        }
        if let Err(Trouble::Noise(text)) = waited {
            return Err(Trouble::Noise(format!("{text} ({error})")));
        }
        let said = complaint(&errors);
        let subject = driver.name().to_owned();
        Ok(Started::Refused(Refusal { subject, status, in_time, said, answer: error.to_string() }))
    }
}

/// What a subject complained of, as far as somebody will read it.
fn complaint(errors: &Path) -> String {
    let mut said = Vec::new();
    let file = std::fs::File::open(errors).map(|file| file.take(LONGEST_COMPLAINT));
    let _ = file.and_then(|mut file| file.read_to_end(&mut said));
    String::from_utf8_lossy(&said).trim().replace('\n', " ")
}

/// In bytes.
const LONGEST_COMPLAINT: u64 = 64 << 10;

/// Runs a bundle whose application ends by itself, and returns its exit status.
pub(crate) fn run_to_end(driver: &Driver, bundle: &Path, id: &str) -> Result<i32, Trouble> {
    let (mut child, _, _) = driver.spawn_run(bundle, id, &[])?;
    wait_within(child.id().cast_signed(), "run")?;
    let status = child.wait()?;
    Ok(status.code().unwrap_or(-1))
}
