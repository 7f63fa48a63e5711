//! The v1 interface. Source: `Documentation/admin-guide/cgroup-v1/`, `Documentation/scheduler/sched-bwc.rst`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::changes::Changes;
use super::files::{keyed, number, read, table, value, write};
use super::interface::{Interface, Part};
use super::{Hierarchy, Stats};
use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::{BlockIo, Cpu, DeviceRule, Memory, Resources};

pub(super) struct V1;

/// How long tasks may take to reach the freezer; a task in uninterruptible sleep cannot be stopped.
const FREEZING: Duration = Duration::from_secs(10);

impl Interface for V1 {
    /// A new cpuset has no CPUs and no memory nodes, and nothing can be attached to it until it has.
    fn prepare(&self, hierarchy: &Hierarchy, parent: &Path, dir: &Path) -> Result<()> {
        if !hierarchy.owns("cpuset") {
            return Ok(());
        }
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if read(dir, file).is_some_and(|set| set.is_empty())
                && let Some(set) = read(parent, file).filter(|set| !set.is_empty())
            {
                write(dir, file, &set)?;
            }
        }
        Ok(())
    }

    fn apply(&self, part: &Part, resources: &Resources, changes: &mut Changes) -> Result<()> {
        let (hierarchy, dir) = (&part.hierarchy, part.dir.as_path());
        if let Some(cpu) = &resources.cpu {
            if hierarchy.owns("cpu") {
                apply_cpu(dir, cpu, changes)?;
            }
            if hierarchy.owns("cpuset") {
                changes.write_some(dir, "cpuset.cpus", cpu.cpus.as_ref())?;
                changes.write_some(dir, "cpuset.mems", cpu.mems.as_ref())?;
            }
        }
        if let Some(memory) = resources.memory.as_ref().filter(|_| hierarchy.owns("memory")) {
            apply_memory(dir, memory, changes)?;
        }
        if let Some(pids) = resources.pids.filter(|pids| hierarchy.owns("pids") && pids.limit != 0) {
            let limit = if pids.limit > 0 { pids.limit.to_string() } else { "max".to_owned() };
            changes.write(dir, "pids.max", &limit)?;
        }
        if hierarchy.owns("devices") {
            apply_devices(dir, &resources.devices)?;
        }
        if let Some(block) = resources.block_io.as_ref().filter(|_| hierarchy.owns("blkio")) {
            apply_block_io(dir, block, changes)?;
        }
        if hierarchy.owns("hugetlb") {
            for pages in &resources.hugepage_limits {
                let (size, limit) = (&pages.page_size, pages.limit.to_string());
                changes.write(dir, &format!("hugetlb.{size}.limit_in_bytes"), &limit)?;
                // Since Linux 5.7: what is reserved by mmap(2) counts already, so the caller gets an error and no SIGBUS later.
                let reserved = format!("hugetlb.{size}.rsvd.limit_in_bytes");
                if dir.join(&reserved).exists() {
                    changes.write(dir, &reserved, &limit)?;
                }
            }
        }
        if hierarchy.owns("rdma") {
            for (device, limits) in &resources.rdma {
                changes.write(dir, "rdma.max", &limits.line(device))?;
            }
        }
        if let Some(network) = &resources.network {
            if hierarchy.owns("net_cls") {
                changes.write_some(dir, "net_cls.classid", network.class_id.as_ref())?;
            }
            if hierarchy.owns("net_prio") {
                for priority in &network.priorities {
                    changes.write(
                        dir,
                        "net_prio.ifpriomap",
                        &format!("{} {}", priority.name, priority.priority),
                    )?;
                }
            }
        }
        Ok(())
    }

    fn join_file(&self) -> &'static str {
        "tasks"
    }

    fn set_frozen(&self, dir: &Path, frozen: bool) -> Result<()> {
        let state = if frozen { "FROZEN" } else { "THAWED" };
        let deadline = Instant::now() + FREEZING;
        loop {
            // Written again each time: a process forked while freezing can be missed by the first pass.
            write(dir, "freezer.state", state)?;
            if read(dir, "freezer.state").as_deref() == Some(state) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let _ = write(dir, "freezer.state", "THAWED");
                return Err(Error::new(format!("tasks of {} did not stop in {FREEZING:?}", dir.display()))
                    .remedy("one of them is in uninterruptible sleep, waiting for a device"));
            }
            // The v1 freezer announces nothing.
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    fn is_frozen(&self, dir: &Path) -> bool {
        read(dir, "freezer.state").as_deref() == Some("FROZEN")
    }

    fn kill_at_once(&self, _: &Path) -> bool {
        false
    }

    fn count(&self, part: &Part, stats: &mut Stats) {
        let (hierarchy, dir) = (&part.hierarchy, part.dir.as_path());
        if hierarchy.owns("cpuacct") {
            stats.cpu_usage_ns = number(dir, "cpuacct.usage");
            stats.cpu_user_ns = number(dir, "cpuacct.usage_user");
            stats.cpu_kernel_ns = number(dir, "cpuacct.usage_sys");
        }
        if hierarchy.owns("cpu") {
            let text = read(dir, "cpu.stat").unwrap_or_default();
            stats.nr_periods = value(&text, "nr_periods");
            stats.nr_throttled = value(&text, "nr_throttled");
            stats.throttled_ns = value(&text, "throttled_time");
        }
        if hierarchy.owns("memory") {
            stats.memory_usage = number(dir, "memory.usage_in_bytes");
            stats.memory_peak = number(dir, "memory.max_usage_in_bytes");
            // Without a limit the file shows the largest number of pages in bytes.
            stats.memory_limit = number(dir, "memory.limit_in_bytes").filter(|limit| *limit < 1 << 62);
            stats.memory_refused = number(dir, "memory.failcnt");
            stats.memory_detail = table(dir, "memory.stat");
            stats.oom_kills = keyed(dir, "memory.oom_control", "oom_kill");
        }
        if hierarchy.owns("pids") {
            stats.pids_current = number(dir, "pids.current");
            stats.pids_limit = number(dir, "pids.max");
            stats.pids_refused = keyed(dir, "pids.events", "max");
        }
    }
}

fn apply_cpu(dir: &Path, cpu: &Cpu, changes: &mut Changes) -> Result<()> {
    // The kernel refuses shares for a group that is idle.
    let wakes = cpu.idle.filter(|idle| *idle == 0);
    changes.write_some(dir, "cpu.idle", wakes.as_ref())?;
    changes.write_some(dir, "cpu.shares", cpu.shares.as_ref())?;
    // What is saved up may not exceed the quota, old or new.
    let early_burst = changes.write_some(dir, "cpu.cfs_burst_us", cpu.burst.as_ref());
    // A smaller period first would make the old quota too large for the parent's, a larger one later would do
    // the same to the new quota: so the order depends on which of both the kernel takes.
    let early = changes.write_some(dir, "cpu.cfs_period_us", cpu.period.as_ref());
    changes.write_some(dir, "cpu.cfs_quota_us", cpu.quota.as_ref())
        .or_advise(|| "linux.resources.cpu.quota is in microseconds, at least 1000, and no larger than the parent's share")?;
    if early.is_err() {
        changes
            .write_some(dir, "cpu.cfs_period_us", cpu.period.as_ref())
            .or_advise(|| "linux.resources.cpu.period is in microseconds, 1000 to 1000000")?;
    }
    if early_burst.is_err() {
        changes
            .write_some(dir, "cpu.cfs_burst_us", cpu.burst.as_ref())
            .or_advise(|| "linux.resources.cpu.burst is at most the quota, and needs Linux 5.14")?;
    }
    changes.write_some(dir, "cpu.idle", cpu.idle.filter(|_| wakes.is_none()).as_ref())?;
    // As with the quota: which of both is possible first depends on the values before.
    let early = changes.write_some(dir, "cpu.rt_period_us", cpu.realtime_period.as_ref());
    changes.write_some(dir, "cpu.rt_runtime_us", cpu.realtime_runtime.as_ref()).or_advise(
        || "linux.resources.cpu.realtimeRuntime needs a kernel with RT_GROUP_SCHED, and runtime of the group above",
    )?;
    if early.is_err() {
        changes.write_some(dir, "cpu.rt_period_us", cpu.realtime_period.as_ref())?;
    }
    Ok(())
}

fn apply_memory(dir: &Path, memory: &Memory, changes: &mut Changes) -> Result<()> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
    if let (Some(limit), Some(_)) = (memory.limit, memory.check_before_update.filter(|check| *check)) {
        let used = number(dir, "memory.usage_in_bytes").unwrap_or(0);
        if u64::try_from(limit).is_ok_and(|limit| used > limit) {
            return Err(Error::new(format!("memory.limit {limit} is below the {used} bytes in use")));
        }
    }
    // Memory alone may never exceed memory with swap, so raising both must start with the latter.
    let early = changes.write_some(dir, LIMIT, memory.limit.as_ref());
    let swap_accounted = dir.join(WITH_SWAP).exists();
    // Without a limit of memory there can be none of memory with swap.
    let swap = memory.swap.or(memory.limit.filter(|limit| *limit == -1));
    if swap.is_some_and(|swap| swap != 0) {
        if !swap_accounted && swap != memory.limit && swap != Some(-1) {
            return Err(Error::new(
                "config.json: linux.resources.memory.swap: this kernel does not account swap",
            )
            .remedy("boot with swapaccount=1, or drop the field"));
        }
        if swap_accounted {
            changes.write_some(dir, WITH_SWAP, swap.as_ref())?;
        }
    }
    if early.is_err() {
        changes.write_some(dir, LIMIT, memory.limit.as_ref()).or_advise(
            || "linux.resources.memory.limit is in bytes; EBUSY means that more is in use already",
        )?;
    }
    changes.write_some(dir, "memory.soft_limit_in_bytes", memory.reservation.as_ref())?;
    changes.write_some(dir, "memory.swappiness", memory.swappiness.as_ref())?;
    if memory.disable_oom_killer == Some(true) {
        changes.write(dir, "memory.oom_control", "1")?;
    }
    Ok(())
}

/// In their order, for each may take back what one before it said; each is one write(2).
fn apply_devices(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    let (mut allow, mut deny) = (None, None);
    for rule in rules {
        let (file, opened) =
            if rule.allow { ("devices.allow", &mut allow) } else { ("devices.deny", &mut deny) };
        let text = in_words(rule);
        let doing = || format!("writing '{text}' to {}", dir.join(file).display());
        let mut writable = match opened.take() {
            Some(writable) => writable,
            None => File::options().write(true).open(dir.join(file)).doing(doing)?,
        };
        writable
            .write_all(text.as_bytes())
            .doing(doing)
            .or_advise(|| "a group cannot allow a device that its parent denies")?;
        *opened = Some(writable);
    }
    Ok(())
}

fn in_words(rule: &DeviceRule) -> String {
    let number = |number: Option<i64>| match number {
        Some(number) if number >= 0 => number.to_string(),
        _ => "*".to_owned(),
    };
    let kind = rule.kind.as_deref().unwrap_or("a");
    let access = rule.access.as_deref().unwrap_or("rwm");
    format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor))
}

fn apply_block_io(dir: &Path, block: &BlockIo, changes: &mut Changes) -> Result<()> {
    if let Some(weight) = block.weight.filter(|weight| *weight != 0) {
        let file = ["blkio.weight", "blkio.bfq.weight"].into_iter().find(|file| dir.join(file).exists());
        let file = file.ok_or_else(|| no_weights("linux.resources.blockIO.weight"))?;
        changes.write(dir, file, &weight.to_string())?;
    }
    for device in &block.weight_device {
        let field = "linux.resources.blockIO.weightDevice";
        for (files, weight, field) in [
            (
                &["blkio.weight_device", "blkio.bfq.weight_device"][..],
                device.weight,
                format!("{field}.weight"),
            ),
            (&["blkio.leaf_weight_device"][..], device.leaf_weight, format!("{field}.leafWeight")),
        ] {
            let Some(weight) = weight.filter(|weight| *weight != 0) else { continue };
            let file = files.iter().find(|file| dir.join(file).exists()).ok_or_else(|| no_weights(&field))?;
            changes.write(dir, file, &format!("{}:{} {weight}", device.major, device.minor))?;
        }
    }
    if let Some(weight) = block.leaf_weight.filter(|weight| *weight != 0) {
        if !dir.join("blkio.leaf_weight").exists() {
            return Err(no_weights("linux.resources.blockIO.leafWeight"));
        }
        changes.write(dir, "blkio.leaf_weight", &weight.to_string())?;
    }
    for (file, rates) in [
        ("blkio.throttle.read_bps_device", &block.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", &block.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", &block.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", &block.throttle_write_iops_device),
    ] {
        for rate in rates {
            changes.write(dir, file, &format!("{}:{} {}", rate.major, rate.minor, rate.rate))?;
        }
    }
    Ok(())
}

fn no_weights(field: &str) -> Error {
    Error::new(format!("config.json: {field}: no I/O scheduler here takes weights"))
        .remedy("use the bfq scheduler, or drop the field")
}
