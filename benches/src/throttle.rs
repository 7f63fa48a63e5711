//! What a quota does to work: latencies of equal items, over quotas, periods, threads and bursts.

use std::path::Path;

use kit::probes::Probe;
use kit::run::Run;
use kit::verbs::measure;
use record::bench::Throttled;
use runtime::cgroup::Group;
use runtime::oci::{Cpu, Resources};

use crate::error::Error;

/// CPU time of an item, in microseconds: short against every quota, long against the clock.
const ITEM_US: u64 = 100;

/// How often each setting is measured.
const REPEATS: usize = 3;

/// What arriving items need of the quota, in percent: much, and not so much that their queue grows for ever.
const LOAD: u32 = 90;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    percent: u32,
    period_us: u64,
    threads: u32,
    burst: bool,
    /// Items arrive, rather than begin when the last one is done.
    open: bool,
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
            for (threads, open) in [(1, false), (2, false), (1, true), (2, true)] {
                all.push(Setting { percent, period_us, threads, burst, open });
            }
        }
    }
    // The kernel takes no quota of less than a millisecond.
    all.retain(|setting| setting.quota() >= 1000);
    all.retain(|setting| !quick || (setting.percent == 20 && setting.period_us == 100_000));
    all
}

/// Works under one setting, several times. `None` where the kernel has no bursts.
///
/// # Errors
/// There is no `cpu` controller, or no group can be made.
pub fn throttled(run: &Run, setting: Setting) -> Result<Option<Throttled>, Error> {
    let mut all = Vec::new();
    for _ in 0..REPEATS {
        let Some(once) = once(run, setting)? else { return Ok(None) };
        all.push(once);
    }
    Ok(together(&all))
}

/// The medians of the repeats; sums of what is counted.
fn together(all: &[Throttled]) -> Option<Throttled> {
    let sorted = |of: fn(&Throttled) -> u64| {
        let mut values: Vec<u64> = all.iter().map(of).collect();
        values.sort_unstable();
        values
    };
    let middle = |of: fn(&Throttled) -> u64| sorted(of).get(all.len() / 2).copied().unwrap_or(0);
    let sum = |of: fn(&Throttled) -> u64| all.iter().map(of).sum::<u64>();
    let p99 = sorted(|one| one.p99_us);
    Some(Throttled {
        repeats: all.len(),
        items: sum(|one| one.items),
        p50_us: middle(|one| one.p50_us),
        p90_us: middle(|one| one.p90_us),
        p99_us: middle(|one| one.p99_us),
        p999_us: middle(|one| one.p999_us),
        longest_us: all.iter().map(|one| one.longest_us).max()?,
        p99_between_us: Some([*p99.first()?, *p99.last()?]),
        throttled_periods: (sum(|one| one.throttled_periods.0), sum(|one| one.throttled_periods.1)),
        ..all.first()?.clone()
    })
}

fn once(run: &Run, setting: Setting) -> Result<Option<Throttled>, Error> {
    let group = Group::plan(&run.layout, Path::new(&run.tag(0)))?;
    group.make()?;
    let measured = work(run, &group, setting);
    group.remove()?;
    measured
}

fn work(run: &Run, group: &Group, setting: Setting) -> Result<Option<Throttled>, Error> {
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
        applied => applied?,
    }
    let mut probe = Probe::start(run.id())?;
    group.attach(probe.pid)?;
    let before = group.stats();
    // Five periods at least, and enough of them for percentiles.
    let millis = (setting.period_us * 5 / 1000).max(if setting.open { 2000 } else { 600 });
    let threads = setting.threads;
    let spread = if setting.open {
        let apart = ITEM_US * u64::from(threads) * 10_000 / u64::from(setting.percent * LOAD);
        probe.ask(measure::work_arrivals(millis, ITEM_US, threads, apart))
    } else {
        probe.ask(measure::work_items(millis, ITEM_US, threads))
    };
    let spread = spread?;
    let after = group.stats();
    drop(probe);
    let counted = |now: Option<u64>, then: Option<u64>| {
        let both = now.zip(then).map(|(now, then)| now.saturating_sub(then));
        both.ok_or_else(|| Error::new("cpu.stat counts no periods"))
    };
    Ok(Some(Throttled {
        quota_percent: setting.percent,
        period_us: setting.period_us,
        burst_us: burst,
        threads: setting.threads,
        item_us: ITEM_US,
        load_percent: setting.open.then_some(LOAD),
        repeats: 1,
        p99_between_us: None,
        items: spread.items,
        p50_us: spread.p50,
        p90_us: spread.p90,
        p99_us: spread.p99,
        p999_us: spread.p999,
        longest_us: spread.longest,
        throttled_periods: (
            counted(after.nr_throttled, before.nr_throttled)?,
            counted(after.nr_periods, before.nr_periods)?,
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(p99_us: u64, longest_us: u64) -> Throttled {
        Throttled {
            quota_percent: 20,
            period_us: 100_000,
            burst_us: 0,
            threads: 1,
            item_us: ITEM_US,
            load_percent: Some(LOAD),
            repeats: 1,
            p99_between_us: None,
            items: 10,
            p50_us: 100,
            p90_us: 100,
            p99_us,
            p999_us: 0,
            longest_us,
            throttled_periods: (1, 6),
        }
    }

    #[test]
    fn repeats_tell_the_median_and_how_far_they_differ() {
        let found = together(&[one(300, 9), one(100, 8), one(200, 7)]).unwrap();
        assert_eq!((found.p99_us, found.p99_between_us, found.longest_us), (200, Some([100, 300]), 9));
        assert_eq!((found.items, found.throttled_periods, found.repeats), (30, (3, 18), 3));
        assert!(together(&[]).is_none());
    }

    #[test]
    fn every_setting_is_measured_with_a_loop_and_with_arrivals() {
        let all = settings(false);
        let open = all.iter().filter(|setting| setting.open).count();
        assert_eq!(2 * open, all.len());
    }
}
