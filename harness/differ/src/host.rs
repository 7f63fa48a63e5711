//! The host's side of a case: the groups of a container with the values in force, and what is left when it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;

use kit::fake_host::FakeHost;
use kit::trouble::Trouble;
use kit::{audit, clean};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use probe::verbs::look;
use runtime::cgroup::{Group, Layout};
use runtime::process::pidfd;
use serde_json::{Map, Value, json};

/// Files of groups that say what is in force.
const LIMITS: &[&str] = &[
    "cpu.shares",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.cfs_burst_us",
    "cpu.idle",
    "cpuset.cpus",
    "cpuset.mems",
    "memory.limit_in_bytes",
    "memory.soft_limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.kmem.tcp.limit_in_bytes",
    "memory.swappiness",
    "memory.oom_control",
    "pids.max",
    "devices.list",
    "blkio.weight",
    "blkio.bfq.weight",
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
    "hugetlb.2MB.limit_in_bytes",
    "hugetlb.2MB.max",
    "freezer.state",
    "cpu.max",
    "cpu.max.burst",
    "cpu.weight",
    "memory.max",
    "memory.low",
    "memory.high",
    "memory.swap.max",
    "io.weight",
    "io.max",
    "cgroup.freeze",
];

/// Kernel parameters of the host's namespaces that a runtime might change by mistake.
const SYSCTLS: &[&str] = &[
    "net/ipv4/ip_forward",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ping_group_range",
    "net/ipv4/tcp_keepalive_time",
    "net/core/somaxconn",
    "net/ipv6/conf/all/disable_ipv6",
    "kernel/shmmax",
    "kernel/msgmax",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "fs/mqueue/msg_max",
    "kernel/printk_ratelimit",
];

/// The fake host on which cases are played, and how it was before.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) fake: FakeHost,
    /// The identities of its namespaces.
    pub(crate) namespaces: BTreeMap<String, u64>,
    before: Value,
}

impl Host {
    pub(crate) fn new(run: &str) -> Result<Self, Trouble> {
        let mut fake = FakeHost::new(run)?;
        let namespaces = fake.ask(look::namespaces())?;
        let before = look_at(&mut fake)?;
        Ok(Self { fake, namespaces, before })
    }

    /// What of it is another than before; an empty object if nothing is.
    pub(crate) fn changes(&mut self) -> Result<Value, Trouble> {
        let now = look_at(&mut self.fake)?;
        let mut changed = Map::new();
        for (name, value) in now.as_object().into_iter().flatten() {
            if self.before.get(name) != Some(value) {
                changed.insert(name.clone(), value.clone());
            }
        }
        for name in self.before.as_object().into_iter().flatten().map(|(name, _)| name) {
            if now.get(name).is_none() {
                changed.insert(name.clone(), "gone".into());
            }
        }
        Ok(Value::Object(changed))
    }
}

fn look_at(fake: &mut FakeHost) -> Result<Value, Trouble> {
    let mut seen = Map::new();
    seen.insert("hostname".into(), fake.ask(look::hostname())?.into());
    seen.insert("domainname".into(), fake.ask(look::domainname())?.into());
    for name in SYSCTLS {
        if let Ok(text) = fake.ask(look::read(&format!("/proc/sys/{name}"))) {
            seen.insert(name.replace('/', "."), text.trim().into());
        }
    }
    let mounts = fake.ask(look::read("/proc/self/mountinfo"))?;
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (Some(root), Some(point), Some(options)) = (words.get(3), words.get(4), words.get(5)) else {
            continue;
        };
        seen.insert((*point).to_owned(), format!("{root} {options}").into());
    }
    Ok(Value::Object(seen))
}

/// The values in force in the groups of a process.
pub(crate) fn limits(layout: &Layout, pid: i32) -> Value {
    let Ok(group) = Group::of_process(layout, pid) else {
        return json!({ "error": "the process has no groups" });
    };
    let mut seen = Map::new();
    for part in group.parts() {
        for name in LIMITS {
            let Ok(text) = std::fs::read_to_string(part.dir.join(name)) else { continue };
            if *name == "devices.list" {
                // The order of what is allowed says nothing.
                let rules = text.lines().map(|rule| (rule.to_owned(), "listed".into()));
                seen.insert((*name).to_owned(), Value::Object(rules.collect()));
            } else {
                seen.insert((*name).to_owned(), text.trim().into());
            }
        }
    }
    Value::Object(seen)
}

/// What of these values is another than before; what is gone is null.
pub(crate) fn changed(before: &Value, after: &Value) -> Value {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return after.clone() };
    let mut changed: Map<String, Value> = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        changed.insert(name.clone(), Value::Null);
    }
    Value::Object(changed)
}

/// What the host sees of a container's first process.
pub(crate) fn process(pid: i32) -> Value {
    let mut seen = Map::new();
    for name in ["uid_map", "gid_map", "setgroups", "cgroup"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{name}"));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Ok(text) = text {
            seen.insert(name.to_owned(), text.lines().map(words).collect::<Vec<_>>().into());
        }
    }
    Value::Object(seen)
}

/// Processes of the run that are neither this one nor the host.
pub(crate) fn processes(run: &str, host: i32) -> BTreeSet<i32> {
    let mut found = audit::processes(run);
    found.remove(&host);
    found
}

/// What is left of a container: groups, processes, its state.
pub(crate) fn left(layout: &Layout, tag: &str, processes: &BTreeSet<i32>, state: &Path) -> Value {
    let mut left = Map::new();
    let groups: Vec<String> = audit::remains_of_try(layout, tag);
    if !groups.is_empty() {
        // A mount that the real host has too would be told twice; processes have their own line.
        let names = groups.iter().map(|told| told.split(" with processes").next().unwrap_or(told).to_owned());
        left.insert("groups".into(), names.collect::<Vec<_>>().into());
    }
    if !processes.is_empty() {
        left.insert("processes".into(), processes.len().into());
    }
    // Under its id, or one that a runtime has made of it; not what it keeps for the next container.
    let is_of_case = |name: &str| name.contains(tag);
    let mut states = std::fs::read_dir(state).into_iter().flatten().flatten();
    if states.any(|entry| is_of_case(&entry.file_name().to_string_lossy())) {
        left.insert("state".into(), "kept".into());
    }
    Value::Object(left)
}

/// Ends what still lives of a case, and removes its groups and mounts.
pub(crate) fn sweep(layout: &Layout, run: &str, tag: &str, host: i32) {
    for pid in processes(run, host) {
        if let Ok(process) = pidfd::open(pid) {
            let _ = pidfd::signal(process.as_fd(), Signal::SIGKILL);
            let _ = pidfd::wait_exit(process.as_fd(), crate::command::LIMIT);
        }
    }
    clean::sweep_try(layout, tag);
    // Orphans come to this process, because it asked for them.
    while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
        waitpid(None, Some(WaitPidFlag::WNOHANG))
    {}
}
