//! `plim-runtime events`: what a container uses, and when the OOM killer met it, one JSON object a line, as runc has them.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::shared::Outcome;
use crate::cgroup::Stats;
use crate::container::{Container, Status};
use crate::deadline::Deadline;
use crate::error::{Doing, Error, Remedy, Result};
use crate::process::pidfd;

/// How often OOM kills are looked for: the two versions of cgroups tell of them in different ways, and both count them.
const OOM_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Time between two statistics, such as 5s or 500ms
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// Show the statistics once
    #[arg(long)]
    stats: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Events {
    pub(super) fn run(&self, root: &Path) -> Outcome {
        let container = Container::find(root, &self.id)?;
        if self.interval.is_zero() {
            return Err(Error::new("--interval must be above 0"));
        }
        if container.status() == Status::Stopped {
            return Err(Error::new(format!("container with id {} is not running", self.id))
                .remedy("a container that has ended uses nothing"));
        }
        if self.stats {
            self.print("stats", Some(statistics(&container)))?;
            return Ok(0);
        }
        self.follow(&container)
    }

    /// Until the container has ended.
    fn follow(&self, container: &Container) -> Outcome {
        let process = pidfd::open(container.state().pid)?;
        let kills = || container.stats().oom_kills.unwrap_or(0);
        let mut seen = kills();
        let mut next = Deadline::after(self.interval);
        loop {
            let wait = next.left().map_or(OOM_INTERVAL, |left| left.min(OOM_INTERVAL));
            let ended = pidfd::wait_exit(process.as_fd(), wait)?;
            let now = kills();
            for _ in seen..now {
                self.print("oom", None)?;
            }
            seen = seen.max(now);
            if ended {
                return Ok(0);
            }
            if next.has_passed() {
                self.print("stats", Some(statistics(container)))?;
                next = next.later(self.interval);
            }
        }
    }

    fn print(&self, kind: &str, data: Option<Value>) -> Result<()> {
        let mut event = json!({"type": kind, "id": self.id});
        if let Some(data) = data {
            event["data"] = data;
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{event}")
            .and_then(|()| out.flush())
            .doing(|| "writing an event")
            .or_advise(|| "nobody reads")
    }
}

/// In the shape of runc's `types.Stats`. What no controller counts is absent.
fn statistics(container: &Container) -> Value {
    let stats: Stats = container.stats();
    let some = |pairs: &[(&str, Option<u64>)]| -> Value {
        let map: Map<String, Value> =
            pairs.iter().filter_map(|(key, value)| Some(((*key).to_owned(), (*value)?.into()))).collect();
        map.into()
    };
    json!({
        "cpu": {
            "usage": some(&[("total", stats.cpu_usage_ns), ("kernel", stats.cpu_kernel_ns), ("user", stats.cpu_user_ns)]),
            "throttling": some(&[
                ("periods", stats.nr_periods),
                ("throttledPeriods", stats.nr_throttled),
                ("throttledTime", stats.throttled_ns),
            ]),
        },
        "memory": {
            "usage": some(&[
                ("limit", stats.memory_limit),
                ("usage", stats.memory_usage),
                ("max", stats.memory_peak),
                ("failcnt", stats.memory_refused),
            ]),
            "raw": stats.memory_detail,
        },
        "pids": some(&[("current", stats.pids_current), ("limit", stats.pids_limit)]),
    })
}
