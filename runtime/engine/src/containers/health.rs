//! Health checks: a command that is run in the container again and again. Source: Dockerfile reference, HEALTHCHECK.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::engine::{Engine, read_json};
use super::ids::now;
use super::record::{Phase, Record};
use crate::image::Execution;
use runtime::error::{Doing, Error, Result};
use runtime::process::pidfd;

/// How health is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The command.
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures since the last success.
    pub failing_streak: u32,
    /// The last few, the oldest first.
    pub log: Vec<Probe>,
}

/// One run of the command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Probe {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// 0 means healthy; -1 that it took too long.
    pub exit_code: i32,
    /// The beginning of what it said.
    pub output: String,
}

/// How many runs are remembered, and how many bytes of what each said. Source: moby, daemon/health.go.
const REMEMBERED: usize = 5;
const LONGEST_OUTPUT: usize = 4096;

impl HealthCheck {
    /// The check of a configuration; `None` if it has none, or `NONE`.
    ///
    /// # Errors
    /// It is of another form than the image specification's.
    pub fn of(config: &Execution) -> Result<Option<Self>> {
        let Some(check) = config.healthcheck.as_ref().filter(|check| !check.is_null()) else {
            return Ok(None);
        };
        let bad = |what: &str| Error::new(format!("the health check has an invalid {what}: {check}"));
        let words: Vec<String> = match check.get("Test") {
            None | Some(Value::Null) => return Ok(None),
            Some(test) => serde_json::from_value(test.clone()).map_err(|_| bad("Test"))?,
        };
        let command = match words.split_first() {
            None => return Ok(None),
            Some((kind, _)) if kind == "NONE" => return Ok(None),
            Some((kind, rest)) if kind == "CMD" && !rest.is_empty() => rest.to_vec(),
            Some((kind, [line])) if kind == "CMD-SHELL" => {
                let usual = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
                let mut words = config.shell.clone().unwrap_or_else(usual);
                words.push(line.clone());
                words
            }
            Some(_) => return Err(bad("Test")),
        };
        let time = |name: &str, usual: Duration| match check.get(name) {
            None | Some(Value::Null) => Ok(usual),
            Some(value) => match value.as_u64() {
                Some(0) => Ok(usual),
                Some(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
                None => Err(bad(name)),
            },
        };
        let retries = match check.get("Retries").and_then(Value::as_u64) {
            None | Some(0) => 3,
            Some(retries) => u32::try_from(retries).map_err(|_| bad("Retries"))?,
        };
        Ok(Some(Self {
            command,
            interval: time("Interval", Duration::from_secs(30))?,
            timeout: time("Timeout", Duration::from_secs(30))?,
            start_period: time("StartPeriod", Duration::ZERO)?,
            start_interval: time("StartInterval", Duration::from_secs(5))?,
            retries,
        }))
    }

    fn pause(&self, since_start: Duration, health: &Health) -> Duration {
        let is_starting = health.status == "starting" && since_start < self.start_period;
        if is_starting { self.start_interval.min(self.interval) } else { self.interval }
    }
}

impl Health {
    /// Before the first run of the command.
    pub(super) fn starting() -> Self {
        Self { status: "starting".into(), ..Self::default() }
    }

    fn note(&mut self, probe: Probe, check: &HealthCheck, since_start: Duration) {
        if probe.exit_code == 0 {
            self.failing_streak = 0;
            self.status = "healthy".into();
        } else if self.status != "starting" || since_start >= check.start_period {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = "unhealthy".into();
            }
        }
        self.log.push(probe);
        if self.log.len() > REMEMBERED {
            self.log.remove(0);
        }
    }
}

impl Engine {
    /// What is known of a container's health; `None` if nobody asks for it, or it never ran.
    pub fn health(&self, record: &Record) -> Option<Health> {
        read_json(&self.dir(&record.id).join("health.json")).ok()
    }

    pub(super) fn write_health(&self, record: &Record, health: &Health) -> Result<()> {
        let text = serde_json::to_vec(health).map_err(|error| Error::new(error.to_string()))?;
        self.store.replace(&self.dir(&record.id).join("health.json"), &text)
    }

    /// Asks for a container's health as long as its run lasts, and its watcher lives.
    ///
    /// # Errors
    /// The container does not run, or its health cannot be asked for.
    pub fn watch_health(&self, id: &str) -> Result<()> {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .doing(|| "binding the life of the health check to its parent's")?;
        let record = self.find(id)?;
        let Some(check) = HealthCheck::of(&record.config)? else { return Ok(()) };
        let process = pidfd::open(self.state(id).pid)?;
        let began = Instant::now();
        let mut health = Health::starting();
        loop {
            if pidfd::wait_exit(process.as_fd(), check.pause(began.elapsed(), &health))? {
                return Ok(());
            }
            // A frozen process answers nobody, and is not ill for that.
            if self.phase(id) != Phase::Running {
                continue;
            }
            let probe = self.probe(&record, &check)?;
            if pidfd::wait_exit(process.as_fd(), Duration::ZERO)? {
                return Ok(());
            }
            health.note(probe, &check, began.elapsed());
            // A full disk ends no checking: the next result is written when there is room for it.
            let _ = self.write_health(&record, &health);
        }
    }

    fn probe(&self, record: &Record, check: &HealthCheck) -> Result<Probe> {
        let start = now();
        let (mut from, to) = std::io::pipe().doing(|| "making a pipe")?;
        let mut child = Command::new(&self.helper.program)
            .arg0(&self.helper.name)
            .arg("--data-root")
            .arg(&self.data)
            .arg("--run-root")
            .arg(&self.run)
            .args(["probe", "--patience", &check.timeout.as_millis().to_string(), &record.id])
            .args(&check.command)
            .stdin(Stdio::null())
            .stdout(to.try_clone().doing(|| "duplicating a pipe")?)
            .stderr(to)
            .spawn()
            .doing(|| "starting a health check")?;
        let process = pidfd::open(child.id().cast_signed())?;
        let mut output = Vec::new();
        loop {
            let mut fds = [
                PollFd::new(from.as_fd(), PollFlags::POLLIN),
                PollFd::new(process.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => continue,
                ready => drop(ready.doing(|| "waiting for a health check")?),
            }
            let (said, ended) = (fds[0].any() == Some(true), fds[1].any() == Some(true));
            let mut buffer = [0; 4096];
            let length = if said { from.read(&mut buffer).doing(|| "reading a health check")? } else { 0 };
            let room = LONGEST_OUTPUT.saturating_sub(output.len());
            output.extend_from_slice(&buffer[..length.min(room)]);
            // What it has left running may keep the pipe open for ever.
            if ended && length == 0 {
                break;
            }
            if said && length == 0 && !ended {
                let _ = pidfd::wait_exit(process.as_fd(), Duration::MAX)?;
                break;
            }
        }
        let status = child.wait().doing(|| "waiting for a health check")?;
        // It ends itself by a signal when the command takes too long: every exit status may be the command's.
        let output = match status.code() {
            Some(_) => String::from_utf8_lossy(&output).into_owned(),
            None => format!("Health check exceeded timeout ({})", humantime::format_duration(check.timeout)),
        };
        Ok(Probe { start, end: now(), exit_code: status.code().unwrap_or(-1), output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value) -> Result<Option<HealthCheck>> {
        HealthCheck::of(&Execution { healthcheck: Some(value), ..Execution::default() })
    }

    #[test]
    fn checks_are_read_as_the_image_has_them() {
        let found =
            check(json!({ "Test": ["CMD-SHELL", "a b"], "Interval": 1_000_000_000_u64 })).unwrap().unwrap();
        assert_eq!(found.command, ["/bin/sh", "-c", "a b"]);
        assert_eq!((found.interval.as_secs(), found.timeout.as_secs(), found.retries), (1, 30, 3));
        assert_eq!(check(json!({ "Test": ["NONE"] })).unwrap(), None);
        assert_eq!(check(json!({ "Test": [] })).unwrap(), None);
        for wrong in [
            json!({ "Test": ["FLY"] }),
            json!({ "Test": "x" }),
            json!({ "Test": ["CMD", "x"], "Interval": -1 }),
        ] {
            assert!(check(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn failures_count_after_the_start_period_and_one_success_heals() {
        let check = check(json!({ "Test": ["CMD", "x"], "StartPeriod": 5_000_000_000_u64, "Retries": 2 }))
            .unwrap()
            .unwrap();
        let mut health = Health::starting();
        let mut note = |exit_code, at| {
            health.note(Probe { exit_code, ..Probe::default() }, &check, Duration::from_secs(at));
            (health.status.clone(), health.failing_streak)
        };
        assert_eq!(note(1, 1), ("starting".into(), 0));
        assert_eq!(note(1, 6), ("starting".into(), 1));
        assert_eq!(note(1, 7), ("unhealthy".into(), 2));
        assert_eq!(note(0, 8), ("healthy".into(), 0));
        assert_eq!(note(1, 9), ("healthy".into(), 1));
        assert_eq!(health.log.len(), 5);
    }
}
