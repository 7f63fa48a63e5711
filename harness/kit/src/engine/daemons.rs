//! The daemons of an engine that has some, on a fake host.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use subject::Service;

use crate::role::{READY, SANDBOX};
use crate::run::RUN_VARIABLE;
use crate::trouble::Trouble;

/// Daemons that run; gone with everything that they started when dropped.
#[derive(Debug)]
pub(crate) struct Daemons {
    child: Child,
}

impl Daemons {
    /// Starts them on the fake host of a process, and waits until they are ready.
    ///
    /// # Errors
    /// One of them cannot be started: nothing is said of any claim.
    pub(crate) fn start(run: &str, host: i32, kept: &Path, services: &[Service]) -> Result<Self, Trouble> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg0(SANDBOX)
            .args(["services", &host.to_string()])
            .arg(kept)
            .arg(serde_json::to_string(services)?)
            .env(RUN_VARIABLE, run)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        if line.trim_end() == READY {
            return Ok(Self { child });
        }
        let mut said = String::new();
        if let Some(mut errors) = child.stderr.take() {
            errors.read_to_string(&mut said)?;
        }
        let _ = child.wait();
        Err(Trouble::Harness(format!("starting the engine's daemons: {}", said.trim())))
    }

    /// The process that waits for them; they are below it.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        // The first process of their namespace ends with its standard input, and all others with it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The PID on the host of a process that the daemons below `ancestor` know by another; the same where they have no namespace of
/// their own.
pub(crate) fn on_host(ancestor: i32, inner: i64) -> Option<i64> {
    let numbers = |pid: i32, field: &str| -> Vec<i64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    let is_below = |pid: i32| {
        let mut at = pid;
        while at > 1 && at != ancestor {
            at = numbers(at, "PPid:").first().and_then(|parent| i32::try_from(*parent).ok()).unwrap_or(0);
        }
        at == ancestor
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| numbers(*pid, "NSpid:").get(1) == Some(&inner) && is_below(*pid))
        .map(i64::from)
}
