//! What a quota does to work: latencies of equal items, over quotas, periods, threads and bursts.

use std::path::Path;

use kit::check::Trouble;
use kit::probes::Probe;
use kit::run::Run;
use record::bench::Throttled;
use runtime::cgroup::Group;
use runtime::oci::{Cpu, Resources};

/// CPU time of an item, in microseconds: short against every quota, long against the clock.
const ITEM_US: u64 = 100;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    percent: u32,
    period_us: u64,
    threads: u32,
    burst: bool,
}

impl Setting {
    /// The quota, in microseconds.
    fn quota(self) -> u64 {
        self.period_us * u64::from(self.percent) / 100
    }
}

/// All settings, or the most usual ones alone.
pub fn settings(quick: bool) -> Vec<Setting> {
    let mut all = Vec::new();
    for percent in [5, 10, 20, 50, 100] {
        for (period_us, burst) in [(10_000, false), (100_000, false), (100_000, true), (1_000_000, false)] {
            for threads in [1, 2] {
                all.push(Setting { percent, period_us, threads, burst });
            }
        }
    }
    // The kernel takes no quota of less than a millisecond.
    all.retain(|setting| setting.quota() >= 1000);
    all.retain(|setting| !quick || (setting.percent == 20 && setting.period_us == 100_000));
    all
}

/// Works under one setting. `None` where the kernel has no bursts.
///
/// # Errors
/// There is no `cpu` controller, or no group can be made.
pub fn throttled(run: &Run, setting: Setting) -> Result<Option<Throttled>, String> {
    let group = Group::plan(&run.layout, Path::new(&run.tag(0))).map_err(|error| error.to_string())?;
    group.make().map_err(|error| error.to_string())?;
    let measured = work(run, &group, setting);
    group.remove().map_err(|error| error.to_string())?;
    measured
}

fn work(run: &Run, group: &Group, setting: Setting) -> Result<Option<Throttled>, String> {
    let quota = setting.quota();
    let burst = if setting.burst { quota } else { 0 };
    let cpu = Cpu {
        quota: i64::try_from(quota).ok(),
        period: Some(setting.period_us),
        burst: setting.burst.then_some(burst),
        ..Cpu::default()
    };
    match group.apply(&Resources { cpu: Some(cpu), ..Resources::default() }) {
        Err(error) if setting.burst && error.errno() == Some(libc::ENOENT) => return Ok(None),
        applied => applied.map_err(|error| error.to_string())?,
    }
    let mut probe = Probe::start(run.id()).map_err(Trouble::into_text)?;
    group.attach(probe.pid).map_err(|error| error.to_string())?;
    let before = group.stats();
    // Five periods at least, and enough of them for percentiles.
    let millis = (setting.period_us * 5 / 1000).max(600);
    let words = ["work-items", &millis.to_string(), &ITEM_US.to_string(), &setting.threads.to_string()];
    let spread = probe.ask(&words).map_err(Trouble::into_text)?;
    let after = group.stats();
    drop(probe);
    let counted = |now: Option<u64>, then: Option<u64>| now.unwrap_or(0).saturating_sub(then.unwrap_or(0));
    let of = |name: &str| spread[name].as_u64().ok_or_else(|| format!("work-items told no {name}"));
    Ok(Some(Throttled {
        quota_percent: setting.percent,
        period_us: setting.period_us,
        burst_us: burst,
        threads: setting.threads,
        item_us: ITEM_US,
        items: of("items")?,
        p50_us: of("p50")?,
        p90_us: of("p90")?,
        p99_us: of("p99")?,
        p999_us: of("p999")?,
        longest_us: of("longest")?,
        throttled_periods: (
            counted(after.nr_throttled, before.nr_throttled),
            counted(after.nr_periods, before.nr_periods),
        ),
    }))
}
