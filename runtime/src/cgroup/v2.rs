//! The v2 interface. Source: `Documentation/admin-guide/cgroup-v2.rst`.

use std::path::Path;
use std::time::Duration;

use super::changes::Changes;
use super::files::{keyed, number, read, table, value, wait_event, write};
use super::interface::{Interface, Part};
use super::{Hierarchy, Stats};
use crate::error::{Error, Remedy, Result};
use crate::oci::{BlockIo, Cpu, Memory, Resources};

pub(super) struct V2;

const FREEZING: Duration = Duration::from_secs(10);

impl Interface for V2 {
    /// A child has only those controllers that its parent hands down. Each is asked for by itself: one that
    /// cannot be handed down must not take the others with it. A limit that then lacks its file is refused
    /// by name when it is written.
    fn prepare(&self, _: &Hierarchy, parent: &Path, _: &Path) -> Result<()> {
        let available = read(parent, "cgroup.controllers").unwrap_or_default();
        let enabled = read(parent, "cgroup.subtree_control").unwrap_or_default();
        for controller in available.split_whitespace() {
            if !enabled.split_whitespace().any(|known| known == controller) {
                let _ = write(parent, "cgroup.subtree_control", &format!("+{controller}"));
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
                set(changes, dir, "cpuset.cpus", cpu.cpus.clone())?;
                set(changes, dir, "cpuset.mems", cpu.mems.clone())?;
            }
        }
        if let Some(memory) = resources.memory.as_ref().filter(|_| hierarchy.owns("memory")) {
            apply_memory(dir, memory, changes)?;
        }
        if let Some(pids) = resources.pids.filter(|pids| hierarchy.owns("pids") && pids.limit != 0) {
            set(changes, dir, "pids.max", Some(or_max(pids.limit)))?;
        }
        if let Some(block) = resources.block_io.as_ref().filter(|_| hierarchy.owns("io")) {
            apply_block_io(dir, block, changes)?;
        }
        if hierarchy.owns("hugetlb") {
            for pages in &resources.hugepage_limits {
                let (size, limit) = (&pages.page_size, pages.limit.to_string());
                set(changes, dir, &format!("hugetlb.{size}.max"), Some(limit.clone()))?;
                // Since Linux 5.7: what is reserved by mmap(2) counts already, so the caller gets an error and no SIGBUS later.
                let reserved = format!("hugetlb.{size}.rsvd.max");
                if dir.join(&reserved).exists() {
                    set(changes, dir, &reserved, Some(limit))?;
                }
            }
        }
        if hierarchy.owns("rdma") {
            for (device, limits) in &resources.rdma {
                set(changes, dir, "rdma.max", Some(limits.line(device)))?;
            }
        }
        resources.unified.iter().try_for_each(|(file, value)| set(changes, dir, file, Some(value.clone())))
    }

    fn join_file(&self) -> &'static str {
        "cgroup.procs"
    }

    fn set_frozen(&self, dir: &Path, frozen: bool) -> Result<()> {
        write(dir, "cgroup.freeze", if frozen { "1" } else { "0" })?;
        if wait_event(dir, "frozen", u64::from(frozen), FREEZING)? {
            return Ok(());
        }
        let _ = write(dir, "cgroup.freeze", "0");
        Err(Error::new(format!("tasks of {} did not stop in {FREEZING:?}", dir.display()))
            .remedy("one of them is in uninterruptible sleep, waiting for a device"))
    }

    fn is_frozen(&self, dir: &Path) -> bool {
        keyed(dir, "cgroup.events", "frozen") == Some(1)
    }

    fn kill_at_once(&self, dir: &Path) -> bool {
        write(dir, "cgroup.kill", "1").is_ok()
    }

    fn count(&self, part: &Part, stats: &mut Stats) {
        let (hierarchy, dir) = (&part.hierarchy, part.dir.as_path());
        if hierarchy.owns("cpu") {
            let text = read(dir, "cpu.stat").unwrap_or_default();
            let micros = |key| value(&text, key).map(|micros| micros * 1_000);
            stats.cpu_usage_ns = micros("usage_usec");
            stats.cpu_user_ns = micros("user_usec");
            stats.cpu_kernel_ns = micros("system_usec");
            stats.nr_periods = value(&text, "nr_periods");
            stats.nr_throttled = value(&text, "nr_throttled");
            stats.throttled_ns = micros("throttled_usec");
        }
        if hierarchy.owns("memory") {
            stats.memory_usage = number(dir, "memory.current");
            stats.memory_peak = number(dir, "memory.peak");
            stats.memory_limit = number(dir, "memory.max");
            stats.memory_refused = keyed(dir, "memory.events", "max");
            stats.memory_detail = table(dir, "memory.stat");
            stats.oom_kills = keyed(dir, "memory.events", "oom_kill");
        }
        if hierarchy.owns("pids") {
            stats.pids_current = number(dir, "pids.current");
            stats.pids_limit = number(dir, "pids.max");
            stats.pids_refused = keyed(dir, "pids.events", "max");
        }
    }
}

fn or_max(value: i64) -> String {
    if value > 0 { value.to_string() } else { "max".to_owned() }
}

/// Writes a value if there is one.
fn set(changes: &mut Changes, dir: &Path, file: &str, value: Option<String>) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    changes.write(dir, file, &value).or_advise(|| {
        "if the file is missing, its controller is not in the parent's cgroup.subtree_control, or this kernel lacks it"
    })
}

fn apply_cpu(dir: &Path, cpu: &Cpu, changes: &mut Changes) -> Result<()> {
    if cpu.realtime_runtime.is_some() || cpu.realtime_period.is_some() {
        return Err(only_on_v1("linux.resources.cpu.realtimeRuntime"));
    }
    // The kernel refuses a weight for a group that is idle.
    let wakes = cpu.idle.filter(|idle| *idle == 0);
    set(changes, dir, "cpu.idle", wakes.map(|idle| idle.to_string()))?;
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        set(changes, dir, "cpu.weight", Some(weight(shares).to_string()))?;
    }
    // What is saved up may not exceed the quota, old or new.
    let burst = cpu.burst.map(|burst| burst.to_string());
    let early_burst = changes.write_some(dir, "cpu.max.burst", burst.as_ref());
    if cpu.quota.is_some() || cpu.period.is_some() {
        let quota = match cpu.quota {
            Some(quota) if quota != 0 => or_max(quota),
            _ => read(dir, "cpu.max")
                .and_then(|max| max.split_whitespace().next().map(str::to_owned))
                .unwrap_or_else(|| "max".to_owned()),
        };
        let value = cpu.period.map_or_else(|| quota.clone(), |period| format!("{quota} {period}"));
        changes.write(dir, "cpu.max", &value).or_advise(
            || "linux.resources.cpu: quota and period are in microseconds, at least 1000, the period at most 1000000",
        )?;
    }
    if early_burst.is_err() {
        set(changes, dir, "cpu.max.burst", burst)?;
    }
    let idle = cpu.idle.filter(|_| wakes.is_none());
    set(changes, dir, "cpu.idle", idle.map(|idle| idle.to_string()))
}

/// What only v1 has is not passed over: whoever asks for it relies on it.
fn only_on_v1(field: &str) -> Error {
    Error::new(format!("config.json: {field} has no meaning on cgroup v2")).remedy("drop the field")
}

/// v1 shares (2 to 262144, 1024 the default) as a v2 weight (1 to 10000, 100 the default).
///
/// The linear map of the early runtimes gave 39 for the default of 1024, and so let every container lose
/// against its neighbours without one. This is the quadratic that meets both ends and the default, as
/// the runtime specification's implementations agreed on in 2025.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "shares are below 2^18")]
    let exponent = (shares as f64).log2();
    let power = (exponent * exponent + 125.0 * exponent) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
    let weight = 10_f64.powf(power).ceil() as u64;
    weight.clamp(1, 10_000)
}

fn apply_memory(dir: &Path, memory: &Memory, changes: &mut Changes) -> Result<()> {
    if memory.swappiness.is_some() {
        return Err(only_on_v1("linux.resources.memory.swappiness"));
    }
    if memory.disable_oom_killer == Some(true) {
        return Err(only_on_v1("linux.resources.memory.disableOOMKiller"));
    }
    // v1's swap limit covers memory and swap together, v2's covers swap alone.
    // Without a limit of memory there can be none of memory with swap.
    let swap = memory.swap.or(memory.limit.filter(|limit| *limit == -1));
    if let Some(swap) = swap.filter(|swap| *swap != 0) {
        // An update may change it beside a limit that is set already.
        let limit = memory.limit.or_else(|| number(dir, "memory.max")?.try_into().ok());
        let alone = match (swap, limit) {
            (-1, _) => "max".to_owned(),
            (swap, Some(limit)) if limit > 0 => (swap - limit).max(0).to_string(),
            _ => {
                return Err(Error::new(
                    "config.json: linux.resources.memory.swap limits memory and swap together and needs memory.limit",
                ));
            }
        };
        // Without swap accounting the file is missing, and there is no swap to limit either.
        if dir.join("memory.swap.max").exists() {
            set(changes, dir, "memory.swap.max", Some(alone))?;
        }
    }
    if let (Some(limit), Some(true)) = (memory.limit, memory.check_before_update) {
        let used = number(dir, "memory.current").unwrap_or(0);
        if u64::try_from(limit).is_ok_and(|limit| used > limit) {
            return Err(Error::new(format!("memory.limit {limit} is below the {used} bytes in use")));
        }
    }
    set(changes, dir, "memory.max", memory.limit.filter(|limit| *limit != 0).map(or_max))?;
    set(changes, dir, "memory.low", memory.reservation.filter(|low| *low != 0).map(or_max))
}

fn apply_block_io(dir: &Path, block: &BlockIo, changes: &mut Changes) -> Result<()> {
    if let Some(weight) = block.weight.filter(|weight| *weight != 0) {
        let (file, weight) = weight_on(dir, weight);
        set(changes, dir, file, Some(weight.to_string()))?;
    }
    for device in &block.weight_device {
        if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
            let (file, weight) = weight_on(dir, weight);
            set(changes, dir, file, Some(format!("{}:{} {weight}", device.major, device.minor)))?;
        }
    }
    if block.leaf_weight.is_some() || block.weight_device.iter().any(|device| device.leaf_weight.is_some()) {
        return Err(only_on_v1("linux.resources.blockIO.leafWeight"));
    }
    for (key, rates) in [
        ("rbps", &block.throttle_read_bps_device),
        ("wbps", &block.throttle_write_bps_device),
        ("riops", &block.throttle_read_iops_device),
        ("wiops", &block.throttle_write_iops_device),
    ] {
        for rate in rates {
            set(changes, dir, "io.max", Some(format!("{}:{} {key}={}", rate.major, rate.minor, rate.rate)))?;
        }
    }
    Ok(())
}

/// The file for weights of block I/O, and blkio's 10 to 1000 on its scale: bfq's is 1 to 1000, io's 1 to 10000.
fn weight_on(dir: &Path, weight: u16) -> (&'static str, u64) {
    let weight = u64::from(weight).clamp(10, 1000);
    if dir.join("io.bfq.weight").exists() {
        return ("io.bfq.weight", weight);
    }
    ("io.weight", 1 + (weight - 10) * 9_999 / 990)
}

#[cfg(test)]
mod tests {
    use super::weight;
    use proptest::prelude::*;

    #[test]
    fn weights_meet_both_ends_and_the_default() {
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 100, 10_000));
    }

    proptest! {
        #[test]
        fn more_shares_never_weigh_less(shares in 2_u64..262_144) {
            prop_assert!(weight(shares) <= weight(shares + 1));
            prop_assert!((1..=10_000).contains(&weight(shares)));
        }
    }
}
