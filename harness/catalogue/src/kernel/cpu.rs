//! The CPU controller itself: hierarchy, throttling, bursts, idle groups, accounting, pressure.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::{Cell, KernelFixture};
use kit::measure::{Control, as_f64, millis, slice, tick};
use kit::need::Need;
use kit::probes::Probe;
use kit::verbs::{cpu, state};

const SOURCE: &str = "Documentation/scheduler/sched-bwc.rst";
const NEEDS: &[Need] = &[Need::Controller("cpu"), Need::CpuAccounting];
const EDGE: &str = "a clock tick and a slice for each CPU at the edges of the window";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "cpu.quota.hierarchical",
        "children never exceed their parent's quota; v1 refuses a larger child quota, v2 accepts and caps it",
        "Documentation/scheduler/sched-bwc.rst, Hierarchical considerations; cgroup-v2.rst, cpu.max",
        hierarchical,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(PARENT_UNLIMITED)])
    .timing(EDGE),
    Check::of_kernel(
        "cpu.quota.attach-mid-run",
        "a process moved in while it runs is held from then on, and its threads come along",
        SOURCE,
        attach_mid_run,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(ONE_THREAD)])
    .timing(EDGE),
    Check::of_kernel(
        "cpu.quota.rejects-invalid",
        "a period below 1 ms or above 1 s and a quota below 1 ms give EINVAL and change nothing",
        "Documentation/scheduler/sched-bwc.rst, Management",
        rejects_invalid,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(VALID_VALUES)]),
    Check::of_kernel(
        "cpu.throttle.none-when-under",
        "many threads of low use under their quota are never throttled",
        "Linux commit de53fd7aedb1, sched/fair: Fix low cpu usage with high throttling",
        none_when_under,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(TOO_SMALL)])
    .timing("none: no throttling is the claim; a delay longer than a period's spare quota is noise. What 4.18 to 5.3 lost, 1 ms for each CPU and period, passes the spare quota on about 30 CPUs and more"),
    Check::of_kernel(
        "cpu.cpuset.empty-is-refused",
        "v1: attaching to a set with no CPUs gives ENOSPC",
        "cpuset(7), ERRORS; Documentation/admin-guide/cgroup-v1/cpusets.rst",
        empty_cpuset,
    )
    .needs(&[Need::V1("cpuset")])
    .faults(&[in_fixture(CPUS_WRITTEN)]),
    Check::of_kernel(
        "cpu.stat.matches-rusage",
        "the group's usage equals the sum of its processes' rusage",
        "getrusage(2); Documentation/admin-guide/cgroup-v1/cpuacct.rst; cgroup-v2.rst, cpu.stat",
        matches_rusage,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(OTHER_GROUP)])
    .timing("rusage counts from fork, the group from joining: the start of a process, at most a few ms"),
    Check::of_kernel(
        "cpu.pressure.rises",
        "v2: cpu.pressure of a throttled group rises, an idle one's does not",
        "Documentation/accounting/psi.rst, Cgroup2 interface",
        pressure,
    )
    .needs(&[Need::V2("cpu"), Need::GroupFile("cpu", "", "cpu.pressure")])
    .faults(&[in_fixture(QUOTA_NOT_WRITTEN)])
    .timing("pressure is averaged every 2 s but counted at once; it waits 80 % of the time, and 70 % are asked for: a tick and a slice at each edge"),
];

const PARENT_UNLIMITED: &str = "parent unlimited";
const ONE_THREAD: &str = "only one thread moved";
const VALID_VALUES: &str = "valid values";
const TOO_SMALL: &str = "quota too small";
const CPUS_WRITTEN: &str = "CPUs written";
const OTHER_GROUP: &str = "another group's file";
const QUOTA_NOT_WRITTEN: &str = "quota not written";

const PERIOD: u64 = 50_000;

pub(super) fn usage(cell: &Cell) -> Result<u64, Trouble> {
    cell.group().stats().cpu_usage_ns.ok_or_else(|| Trouble::Harness("CPU time is not accounted".into()))
}

/// CPU time of a group in a stretch of time, in ms, and the longest delay of the control beside it.
fn used(cell: &Cell, window: Duration) -> Result<(f64, f64, f64), Trouble> {
    let control = Control::begin()?;
    let (before, start) = (usage(cell)?, Instant::now());
    std::thread::sleep(window);
    let (after, wall) = (usage(cell)?, start.elapsed());
    Ok((as_f64(after - before) / 1e6, millis(wall), millis(control.end()?)))
}

pub(super) fn edge(cpus: f64) -> f64 {
    cpus * millis(tick() + slice())
}

fn hierarchical(kernel: &mut KernelFixture) -> Checked {
    let parent = kernel.cell("parent")?;
    let limited = !kernel.has(PARENT_UNLIMITED);
    if limited {
        parent.limit_cpu(PERIOD / 5, PERIOD)?;
    }
    let (one, other) = (parent.child("one")?, parent.child("other")?);
    let larger = one.limit_cpu(PERIOD / 2, PERIOD);
    let accepted = larger.is_ok();
    kernel.seen.expect_eq("a child's larger quota is accepted", &accepted, &one.is_v2("cpu"));
    // The largest that both versions take.
    one.limit_cpu(PERIOD / 5, PERIOD)?;
    other.limit_cpu(PERIOD / 5, PERIOD)?;
    let mut probes = [one.probe()?, other.probe()?];
    for probe in &mut probes {
        probe.ask(cpu::spin_anywhere(1))?;
    }
    std::thread::sleep(Duration::from_micros(3 * PERIOD));
    let (cpu, wall, late) = used(&parent, Duration::from_millis(600))?;
    let most = wall / 5.0 + edge(2.0);
    kernel.seen.expect_in(
        "CPU time of both children together, in ms",
        cpu,
        (wall / 5.0 - edge(2.0))..=most,
        "tick and slice of two CPUs",
        2.0 * late,
    );
    drop(probes);
    Ok(())
}

fn attach_mid_run(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    cell.limit_cpu(PERIOD / 5, PERIOD)?;
    let mut probe = Probe::start_after(|| Ok(()))?;
    probe.ask(cpu::spin_anywhere(2))?;
    let free = (process_time(probe.pid)?, Instant::now());
    std::thread::sleep(Duration::from_millis(300));
    let rate = (process_time(probe.pid)? - free.0) / millis(free.1.elapsed());
    kernel.seen.note(format!("before it was moved it used {:.0} % of a CPU", rate * 100.0));
    // Twice what the quota will allow.
    if rate < 0.4 {
        return Err(Trouble::Noise(format!("two busy threads got only {:.0} % of a CPU", rate * 100.0)));
    }
    join(kernel, &cell, probe.pid)?;
    std::thread::sleep(Duration::from_micros(3 * PERIOD));
    let control = Control::begin()?;
    let (before, start) = (process_time(probe.pid)?, Instant::now());
    std::thread::sleep(Duration::from_millis(800));
    let (after, wall) = (process_time(probe.pid)?, millis(start.elapsed()));
    let late = millis(control.end()?);
    let most = wall / 5.0 + edge(2.0) + 20.0;
    kernel.seen.expect_in(
        "CPU time of the process, in ms",
        after - before,
        (wall / 5.0 - edge(2.0) - 20.0).max(0.0)..=most,
        "tick and slice of two CPUs, a hundredth of a second at each end",
        2.0 * late,
    );
    Ok(())
}

/// Moves a process into a limited group; a fault moves its first thread alone, which is the one that answers questions.
fn join(kernel: &KernelFixture, cell: &Cell, pid: i32) -> Checked {
    if !kernel.has(ONE_THREAD) {
        return Ok(cell.group().attach(pid)?);
    }
    if !cell.is_v2("cpu") {
        return Ok(fs::write(cell.dir("cpu")?.join("tasks"), pid.to_string())?);
    }
    // Threads leave their process only within a threaded subtree, whose top is not limited here.
    let top = cell.dir("cpu")?;
    fs::write(top.join("cpu.max"), "max")?;
    let inner = top.join("inner");
    fs::create_dir(&inner)?;
    fs::write(inner.join("cgroup.type"), "threaded")?;
    fs::write(top.join("cgroup.procs"), pid.to_string())?;
    fs::write(top.join("cgroup.subtree_control"), "+cpu")?;
    fs::write(inner.join("cpu.max"), format!("{} {PERIOD}", PERIOD / 5))?;
    Ok(fs::write(inner.join("cgroup.threads"), pid.to_string())?)
}

/// CPU time of a process, in ms. Source: proc_pid_schedstat, and proc_pid_stat(5) in hundredths of a second.
fn process_time(pid: i32) -> Result<f64, Trouble> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |place: usize| {
        let field = fields.get(place).and_then(|field| field.parse::<f64>().ok());
        field.ok_or_else(|| Trouble::Harness(format!("/proc/{pid}/stat tells no CPU time: '{stat}'")))
    };
    Ok((ticks(11)? + ticks(12)?) * 10.0)
}

fn rejects_invalid(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    cell.limit_cpu(20_000, 100_000)?;
    let dir = cell.dir("cpu")?;
    let read = || {
        ["cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"]
            .map(|file| fs::read_to_string(dir.join(file)).unwrap_or_default())
    };
    let before = read();
    let valid = kernel.has(VALID_VALUES);
    for (what, quota, period) in [
        ("a period of 0.5 ms", 1_000, 500),
        ("a period of 2 s", 20_000, 2_000_000),
        ("a quota of 0.5 ms", 500, 100_000),
    ] {
        let (quota, period) = if valid { (30_000, 100_000) } else { (quota, period) };
        let written = if cell.is_v2("cpu") {
            fs::write(dir.join("cpu.max"), format!("{quota} {period}"))
        } else if what.contains("period") {
            fs::write(dir.join("cpu.cfs_period_us"), period.to_string())
        } else {
            fs::write(dir.join("cpu.cfs_quota_us"), quota.to_string())
        };
        let errno = written.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
        kernel.seen.expect_eq(&format!("error of {what}"), &errno, &(Errno::EINVAL as i32));
    }
    kernel.seen.expect_eq("the limit afterwards", &read(), &before);
    Ok(())
}

fn none_when_under(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    // Eight threads of 0.25 ms in every 10 ms or more: at most 20 % of a CPU under a quota of 80 %.
    let quota = if kernel.has(TOO_SMALL) { 5_000 } else { 40_000 };
    let asked = 40_000;
    cell.limit_cpu(quota, PERIOD)?;
    let mut probe = cell.probe()?;
    probe.ask(cpu::pulse(8, 250, 9750))?;
    let control = Control::begin()?;
    let before = cell.group().stats();
    std::thread::sleep(Duration::from_millis(600));
    let after = cell.group().stats();
    let late = millis(control.end()?);
    let grown = |after: Option<u64>, before: Option<u64>, what: &str| {
        let grown = after.zip(before).map(|(after, before)| after - before);
        grown.ok_or_else(|| Trouble::Harness(format!("the group does not tell its {what}")))
    };
    let periods = grown(after.nr_periods, before.nr_periods, "periods")?;
    let throttled = grown(after.nr_throttled, before.nr_throttled, "throttled periods")?;
    let cpu = as_f64(grown(after.cpu_usage_ns, before.cpu_usage_ns, "CPU time")?) / 1e6;
    kernel.seen.note(format!("{cpu:.0} ms used in {periods} periods"));
    let wanted = as_f64(asked) / as_f64(PERIOD);
    if cpu / 600.0 > 0.7 * wanted {
        return Err(Trouble::Noise(format!(
            "the threads, which were to use 120 ms, used {cpu:.0} ms: this machine is too slow"
        )));
    }
    // A period has 30 ms to spare. An emulator charges a task for the time that its own host withheld: so often may that,
    // or work that comes late and all at once, throttle a period.
    let noise = ((cpu - 120.0).max(0.0) + late) / 30.0;
    kernel.seen.expect_in("throttlings", as_f64(throttled), 0.0..=0.0, "none is allowed", noise);
    // Of 6. A period in which nothing ran is one that the machine withheld.
    let withheld = late * 1e3 / as_f64(PERIOD);
    kernel.seen.expect_in(
        "periods in which it ran",
        as_f64(periods),
        5.0..=f64::INFINITY,
        "one at the ends",
        withheld,
    );
    Ok(())
}

fn empty_cpuset(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let dir = cell.dir("cpuset")?.join("empty");
    fs::create_dir(&dir)?;
    if kernel.has(CPUS_WRITTEN) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            fs::write(dir.join(file), fs::read_to_string(cell.dir("cpuset")?.join(file))?)?;
        }
    } else if !fs::read_to_string(dir.join("cpuset.cpus"))?.trim().is_empty() {
        return Err(Trouble::Skip("new sets inherit their CPUs here: cgroup.clone_children is set".into()));
    }
    let probe = Probe::start_after(|| Ok(()))?;
    let attached = fs::write(dir.join("cgroup.procs"), probe.pid.to_string());
    let errno = attached.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
    kernel.seen.expect_eq("error of attaching a process", &errno, &libc::ENOSPC);
    drop(probe);
    Ok(())
}

fn matches_rusage(kernel: &mut KernelFixture) -> Checked {
    let (cell, other) = (kernel.cell("group")?, kernel.cell("other")?);
    let mut probe = cell.probe()?;
    // What a question costs the one who answers, at the first time and at the next.
    let (first, second, own) = (rusage(&mut probe)?, rusage(&mut probe)?, rusage(&mut probe)?);
    let question = as_f64((second - first).max(own - second)) / 1e6;
    let watched = if kernel.has(OTHER_GROUP) { &other } else { &cell };
    let before = usage(watched)?;
    probe.ask(cpu::burn(150000))?;
    let after = usage(watched)?;
    let later = rusage(&mut probe)?;
    let (group, process) = (as_f64(after - before) / 1e6, as_f64(later - own) / 1e6);
    // Between the readings the probe answers twice; a running task is brought up to date at a tick.
    let slack = millis(tick()) + 2.0 + 2.0 * question;
    kernel.seen.expect_in(
        "CPU time of the group, in ms",
        group,
        (process - slack)..=(process + slack),
        "a tick, and what the two readings cost",
        0.0,
    );
    Ok(())
}

fn rusage(probe: &mut Probe) -> Result<u64, Trouble> {
    probe.ask(state::rusage())
}

fn pressure(kernel: &mut KernelFixture) -> Checked {
    let (cell, idle) = (kernel.cell("group")?, kernel.cell("idle")?);
    let total = |cell: &Cell| -> Result<u64, Trouble> {
        let text = fs::read_to_string(cell.dir("cpu")?.join("cpu.pressure"))?;
        let some = text.lines().find_map(|line| line.strip_prefix("some "));
        let total = some.and_then(|some| some.rsplit_once("total=")?.1.trim().parse().ok());
        total.ok_or_else(|| Trouble::Harness(format!("cpu.pressure says '{}'", text.trim())))
    };
    let mut probe = cell.probe()?;
    probe.ask(cpu::spin(1))?;
    // The same work without a quota: what it waits for then is a neighbour.
    let (before, start) = (total(&cell)?, Instant::now());
    std::thread::sleep(Duration::from_millis(500));
    let free = as_f64(total(&cell)? - before) / 1e3 / millis(start.elapsed());
    kernel.seen.note(format!("without a quota it waited {:.0} % of the time", free * 100.0));
    if free > 0.4 {
        return Err(Trouble::Noise(format!(
            "a busy group without a quota waited {:.0} % of the time",
            free * 100.0
        )));
    }
    if !kernel.has(QUOTA_NOT_WRITTEN) {
        cell.limit_cpu(PERIOD / 5, PERIOD)?;
    }
    std::thread::sleep(Duration::from_micros(2 * PERIOD));
    let (before, still) = (total(&cell)?, total(&idle)?);
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    let wall = start.elapsed().as_micros() as u64;
    let grown = total(&cell)? - before;
    let wanted = wall * 7 / 10;
    kernel.seen.expect(
        "growth of the throttled group's pressure, in µs",
        grown,
        format!("{wanted} or more"),
        grown >= wanted,
    );
    kernel.seen.expect_eq("growth of the idle group's", &(total(&idle)? - still), &0);
    Ok(())
}
