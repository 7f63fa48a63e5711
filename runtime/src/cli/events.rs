//! `plim-runtime events`: what a container uses, and when the OOM killer met it, one JSON object a line, as runc has them.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::shared::Outcome;
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

    fn print(&self, kind: &'static str, data: Option<Statistics>) -> Result<()> {
        let event = Event { kind, id: &self.id, data };
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &event)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
            .and_then(|()| out.flush())
            .doing(|| "writing an event")
            .or_advise(|| "nobody reads")
    }
}

/// One line.
#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Statistics>,
}

/// In the shape of runc's `types.Stats`. What no controller counts is absent.
#[derive(Debug, Serialize)]
struct Statistics {
    cpu: CpuStatistics,
    memory: MemoryStatistics,
    pids: PidStatistics,
}

#[derive(Debug, Serialize)]
struct CpuStatistics {
    usage: CpuUsage,
    throttling: Throttling,
}

/// Nanoseconds.
#[derive(Debug, Serialize)]
struct CpuUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "Option::is_none")]
    periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_periods: Option<u64>,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_time: Option<u64>,
}

#[derive(Debug, Serialize)]
struct MemoryStatistics {
    usage: MemoryUsage,
    /// `memory.stat`.
    raw: BTreeMap<String, u64>,
}

/// Bytes.
#[derive(Debug, Serialize)]
struct MemoryUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
    /// How often the limit was met.
    #[serde(skip_serializing_if = "Option::is_none")]
    failcnt: Option<u64>,
}

#[derive(Debug, Serialize)]
struct PidStatistics {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

fn statistics(container: &Container) -> Statistics {
    let stats = container.stats();
    Statistics {
        cpu: CpuStatistics {
            usage: CpuUsage {
                total: stats.cpu_usage_ns,
                kernel: stats.cpu_kernel_ns,
                user: stats.cpu_user_ns,
            },
            throttling: Throttling {
                periods: stats.nr_periods,
                throttled_periods: stats.nr_throttled,
                throttled_time: stats.throttled_ns,
            },
        },
        memory: MemoryStatistics {
            usage: MemoryUsage {
                limit: stats.memory_limit,
                usage: stats.memory_usage,
                max: stats.memory_peak,
                failcnt: stats.memory_refused,
            },
            raw: stats.memory_detail,
        },
        pids: PidStatistics { current: stats.pids_current, limit: stats.pids_limit },
    }
}
