//! Limits at their edges: none, zero, below a parent's, in units that are none.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runtime::cgroup::Group;
use runtime::oci::{Cpu, HugePages, Pids};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, in_fixture, resources};
use kit::measure::{as_f64, counted};
use kit::need::Need;
use kit::runtime::{Container, RuntimeFixture};
use kit::verbs::{cpu, look, tasks};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "cpu.quota.under-a-parent",
        "quota and period can both be halved where the parent group allows no larger share than the container has",
        "Documentation/scheduler/sched-bwc.rst, Hierarchical considerations: the ratio of a child must not exceed its parent's; runc#3090",
        under_a_parent,
    )
    .needs(&[Need::V1("cpu"), Need::CpuAccounting])
    .faults(&[fault::UPDATE_DROPPED]),
    Check::of_runtime(
        "cpu.burst.by-runtime",
        "linux.resources.cpu.burst lets a process use in one period what it has saved",
        "OCI config-linux.md, CPU, burst; Documentation/scheduler/sched-bwc.rst, Burst feature; crun 1.11",
        burst,
    )
    .needs(&[Need::GroupFile("cpu", "cpu.cfs_burst_us", "cpu.max.burst"), Need::CpuAccounting])
    .faults(&[fault::config("dropped", |spec| {
        if let Some(cpu) = resources(spec).cpu.as_mut() {
            cpu.burst = None;
        }
    })])
    .timing("a tick and a slice; without the burst a stall of most of a period"),
    Check::of_runtime(
        "cpu.shares.zero-is-unset",
        "shares of 0 mean that none are asked for: the container starts, and gets as much as its neighbour",
        "runc and crun (1.4.1) leave them out; the kernel would make 2 of them, sched-design-CFS.rst; docker run --cpu-shares 0",
        shares_zero,
    )
    .needs(&[Need::Controller("cpu"), Need::CpuAccounting])
    .faults(&[fault::config("the least there is", |spec| {
        if let Some(cpu) = resources(spec).cpu.as_mut() {
            cpu.shares = cpu.shares.map(|_| 2);
        }
    })])
    .timing("equal weights share by halves; each side may lose a few slices of 300 ms"),
    Check::of_runtime(
        "cpu.cpuset.parent-keeps",
        "a container with fewer CPUs than its parent group leaves the parent's CPUs to its siblings",
        "cpusets(7); crun 1.14",
        parent_keeps,
    )
    .needs(&[Need::V1("cpuset"), Need::Cpus(2)])
    .faults(&[in_fixture(NARROWED)]),
    Check::of_runtime(
        "pids.max.none",
        "a task limit of -1 is none, and takes one away that was there",
        "OCI config-linux.md, PIDs, limit: -1 means no limit; crun 1.13",
        no_task_limit,
    )
    .needs(&[Need::Controller("pids")])
    .faults(&[
        fault::config("a limit of 16", |spec| resources(spec).pids = Some(Pids { limit: 16 })),
        fault::UPDATE_DROPPED,
    ]),
    Check::of_runtime(
        "hugetlb.page-size-is-checked",
        "a page size of hugepageLimits that is a path is refused, and is not written anywhere",
        "OCI config-linux.md, Huge page limits, pageSize: <size><unit-prefix>B; CWE-22; runc#4103",
        page_size,
    )
    .needs(&[Need::Controller("hugetlb")])
    .faults(&[fault::config("another one instead", |spec| {
        for limit in &mut resources(spec).hugepage_limits {
            "2MB".clone_into(&mut limit.page_size);
        }
    })]),
];

const NARROWED: &str = "the parent narrowed";

/// Starts a container below a group of the check's own, which is made by `prepare` first.
fn below_a_group(
    runtime: &mut RuntimeFixture,
    prepare: &dyn Fn(&Group) -> Checked,
    resources_of: Cpu,
) -> Result<(Container, PathBuf), Trouble> {
    let layout = runtime.layout().clone();
    let mut above = PathBuf::new();
    let mut prepared = Ok(());
    let wanted = runtime.container().with_id(|id, spec| {
        above = Path::new("/").join(id);
        prepared = Group::plan(&layout, &above)
            .and_then(|group| group.make().map(|()| group))
            .map_err(Trouble::from)
            .and_then(|group| prepare(&group));
        spec.linux.get_or_insert_default().cgroups_path = Some(above.join("own"));
        resources(spec).cpu = Some(resources_of);
    });
    prepared?;
    Ok((wanted.start()?, above))
}

/// Removes what [`below_a_group`] made.
fn remove_group(runtime: &RuntimeFixture, above: &Path) -> Checked {
    for path in [above.join("own"), above.join("beside"), above.to_owned()] {
        let _ = Group::plan(runtime.layout(), &path)?.remove();
    }
    Ok(())
}

fn set(group: &Group, controller: &str, file: &str, text: &str) -> Checked {
    let part =
        group.part(controller).ok_or_else(|| Trouble::Harness(format!("no controller {controller}")))?;
    Ok(std::fs::write(part.dir.join(file), text)?)
}

fn under_a_parent(runtime: &mut RuntimeFixture) -> Checked {
    let halved = |group: &Group| {
        set(group, "cpu", "cpu.cfs_period_us", "100000")?;
        set(group, "cpu", "cpu.cfs_quota_us", "50000")
    };
    let own = Cpu { quota: Some(50_000), period: Some(100_000), ..Cpu::default() };
    let (mut container, above) = below_a_group(runtime, &halved, own)?;
    let driver = runtime.driver().clone();
    let words = ["update", "--cpu-period", "50000", "--cpu-quota", "25000", &container.id];
    let updated = driver.call(&words);
    let said = match updated {
        Ok(()) => "done".to_owned(),
        Err(Trouble::Subject(said)) => said,
        Err(other) => return Err(other),
    };
    runtime.seen.expect("update from 50 of 100 ms to 25 of 50 ms", &said, "done", said == "done");
    // The kernel counts the periods in which the group had something to run.
    container.ask(cpu::spin(1))?;
    let group = container.group()?;
    let periods = || counted(group.stats().nr_periods, "the number of periods");
    let (begun, before) = (Instant::now(), periods()?);
    // A stretch of running has no event that could be awaited.
    std::thread::sleep(Duration::from_millis(500));
    let (took, counted) = (begun.elapsed().as_secs_f64() * 1e3, as_f64(periods()? - before));
    let length = took / counted.max(1.0);
    // One period may be cut off at each end of ten; the old ones are twice as long.
    runtime.seen.expect(
        "length of a period afterwards, in ms",
        length.round(),
        "40 to 65",
        (40.0..=65.0).contains(&length),
    );
    container.close()?;
    remove_group(runtime, &above)
}

fn burst(runtime: &mut RuntimeFixture) -> Checked {
    const QUOTA: i64 = 20_000;
    super::version::at_least(runtime, (1, 1, 0), "linux.resources.cpu.burst")?;
    /// So often that not every one can begin shortly before a period's end, where the quota of the next one suffices.
    const ROUNDS: u64 = 5;
    let mut longest = Vec::new();
    for burst in [None, Some(20_000)] {
        let wanted = runtime.container().with(|spec| {
            let limit = Cpu { quota: Some(QUOTA), period: Some(100_000), burst, ..Cpu::default() };
            resources(spec).cpu = Some(limit);
        });
        let mut container = wanted.start()?;
        let group = container.group()?;
        let throttled = || counted(group.stats().throttled_ns, "throttled time");
        let mut most = 0;
        for round in 0..ROUNDS {
            container.ask(cpu::burn(500))?;
            // Run time is saved in whole periods, each round begins at another place in one.
            std::thread::sleep(Duration::from_millis(210 + 23 * round));
            let before = throttled()?;
            container.ask(cpu::burn(30_000))?;
            most = most.max(throttled()? - before);
        }
        container.close()?;
        longest.push(as_f64(most) / 1e6);
    }
    let [without, with] = longest[..] else { return Ok(()) };
    let edge = (kit::measure::tick() + kit::measure::slice()).as_secs_f64() * 1e3;
    // The control: without a burst the same work is stopped.
    if without <= edge {
        return Err(Trouble::Noise(format!(
            "without a burst, 30 ms of work on a quota of 20 ms were stopped for {without:.0} ms at most"
        )));
    }
    runtime.seen.expect_in(
        "longest throttled time in 30 ms of work on a quota of 20 ms with a burst of 20 ms, in ms",
        with,
        0.0..=edge,
        "tick and slice",
        0.0,
    );
    Ok(())
}

fn shares_zero(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = |runtime: &mut RuntimeFixture, shares| {
        runtime
            .container()
            .with(|spec| resources(spec).cpu = Some(Cpu { shares, ..Cpu::default() }))
            .attempt()
    };
    let started = wanted(runtime, Some(0))?;
    let Some(mut zero) = runtime.expect_runs("a container with shares of 0", started) else { return Ok(()) };
    let mut plain = wanted(runtime, None)?.running()?;
    let groups = (zero.group()?, plain.group()?);
    zero.ask(cpu::spin(1))?;
    plain.ask(cpu::spin(1))?;
    let used = || -> Result<(u64, u64), Trouble> {
        let of = |group: &Group| counted(group.stats().cpu_usage_ns, "CPU time");
        Ok((of(&groups.0)?, of(&groups.1)?))
    };
    let before = used()?;
    // A stretch of both running has no event that could be awaited.
    std::thread::sleep(Duration::from_millis(300));
    let after = used()?;
    let (own, other) = (as_f64(after.0 - before.0), as_f64(after.1 - before.1));
    zero.close()?;
    plain.close()?;
    runtime.seen.expect_in(
        "its share of a CPU beside a container without shares, in %",
        100.0 * own / (own + other).max(1.0),
        35.0..=65.0,
        "equal weights, and a few slices of 300 ms",
        0.0,
    );
    Ok(())
}

fn parent_keeps(runtime: &mut RuntimeFixture) -> Checked {
    let narrowed = runtime.has(NARROWED);
    let wide = |group: &Group| {
        set(group, "cpuset", "cpuset.mems", "0")?;
        set(group, "cpuset", "cpuset.cpus", "0-1")
    };
    let own = Cpu { cpus: Some("0".into()), mems: Some("0".into()), ..Cpu::default() };
    let (mut first, above) = below_a_group(runtime, &wide, own)?;
    let seen = first.ask(cpu::affinity())?.allowed.len();
    runtime.seen.expect_eq("CPUs of the container that asked for one of its parent's two", &seen, &1);
    let parent = Group::plan(runtime.layout(), &above)?;
    if narrowed {
        set(&parent, "cpuset", "cpuset.cpus", "0")?;
    }
    // A sibling made by the check: what the parent has, it can have.
    let beside = Group::plan(runtime.layout(), &above.join("beside"))?;
    beside.make()?;
    let widened = set(&beside, "cpuset", "cpuset.cpus", "0-1");
    let said = widened.map_or_else(Trouble::into_text, |()| "done".to_owned());
    runtime.seen.expect("giving both to a sibling", &said, "done", said == "done");
    if said == "done" {
        set(&beside, "cpuset", "cpuset.mems", "0")?;
        let mut probe = runtime.host_probe()?;
        set(&beside, "cpuset", "cgroup.procs", &probe.ask(look::identity())?.pid.to_string())?;
        let seen = probe.ask(cpu::affinity())?.allowed.len();
        runtime.seen.expect_eq("CPUs of a process of the sibling", &seen, &2);
        drop(probe);
    }
    first.close()?;
    remove_group(runtime, &above)
}

fn no_task_limit(runtime: &mut RuntimeFixture) -> Checked {
    const MANY: usize = 200;
    let started = runtime.container().pids(-1).attempt()?;
    if let Some(mut container) = runtime.expect_runs("a task limit of -1", started) {
        let forked = container.ask(tasks::fork_until_refused(MANY))?;
        let what = "children with a limit of -1, and the error of one that was refused";
        runtime.seen.expect_eq(what, &(forked.made, forked.errno), &(MANY, 0));
        container.close()?;
    }
    let mut container = runtime.container().pids(8).start()?;
    let forked = container.ask(tasks::fork_until_refused(MANY))?;
    runtime.seen.expect_eq("children beside the first of 8 processes", &forked.made, &7);
    runtime.driver().clone().call(&["update", "--pids-limit", "-1", &container.id])?;
    let forked = container.ask(tasks::fork_until_refused(MANY))?;
    runtime.seen.expect_eq("children after an update to -1", &forked.made, &MANY);
    container.close()?;
    Ok(())
}

fn page_size(runtime: &mut RuntimeFixture) -> Checked {
    for size in ["2MB/../hugetlb.2MB", "x/../hugetlb.2MB", "../hugetlb.2MB", "2MB\n", "two"] {
        let started = runtime
            .container()
            .with(|spec| {
                let limit = HugePages { page_size: size.into(), limit: 4 << 20 };
                resources(spec).hugepage_limits = vec![limit];
            })
            .attempt()?;
        runtime.expect_refused(&format!("the page size {size:?}"), started)?;
    }
    Ok(())
}
