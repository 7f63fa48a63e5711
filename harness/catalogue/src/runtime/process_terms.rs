//! On which terms an application runs: scheduler, priorities, execution domain, memory nodes, CPUs, limits.

use std::collections::BTreeMap;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use runtime::oci::Rlimit;
use runtime::oci::scheduling::{ExecCpuAffinity, IoPriority, MemoryPolicy, Personality, Scheduler};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, in_fixture, resources};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::{cpu, terms};

use super::version;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "process.scheduler",
        "policy and nice value are those asked for, and a priority that no policy has is refused",
        "OCI config.md, Linux Process, scheduler; sched(7)",
        scheduler,
    )
    .faults(&[
        fault::config("dropped", |spec| {
            if let Some(process) = spec.process.as_mut() {
                process.scheduler = None;
            }
        }),
        fault::config("another nice value", |spec| {
            if let Some(scheduler) = spec.process.as_mut().and_then(|process| process.scheduler.as_mut()) {
                scheduler.nice += 1;
            }
        }),
    ]),
    Check::of_runtime(
        "process.io-priority",
        "class and level of block I/O are those asked for",
        "OCI config.md, Linux Process, ioPriority; ioprio_set(2)",
        io_priority,
    )
    .faults(&[
        fault::config("dropped", |spec| {
            if let Some(process) = spec.process.as_mut() {
                process.io_priority = None;
            }
        }),
        fault::config("another level", |spec| {
            if let Some(priority) = spec.process.as_mut().and_then(|process| process.io_priority.as_mut()) {
                priority.priority = 0;
            }
        }),
    ]),
    Check::of_runtime(
        "ns.exec.terms",
        "an exec'd process has the container's scheduler, I/O priority and nice value",
        "runc-exec(8); runc 1.2 and crun 1.20, release notes: the OCI specification has no exec",
        exec_terms,
    )
    .faults(&[Fault { name: "the caller's", kind: FaultKind::ExecKeepsPrivilege }]),
    Check::of_runtime(
        "process.personality",
        "the domain LINUX32 holds for the application and for exec, which uname shows",
        "OCI config-linux.md, Personality; personality(2); runc#4900",
        personality,
    )
    .faults(&[fault::config("dropped", |spec| spec.linux.get_or_insert_default().personality = None)]),
    Check::of_runtime(
        "process.rlimits",
        "each of the 15 resource limits is the one asked for, soft and hard",
        "OCI config.md, POSIX process, rlimits; getrlimit(2)",
        rlimits,
    )
    .faults(&[
        fault::config("one dropped", |spec| {
            drop(spec.process.as_mut().and_then(|process| process.rlimits.pop()));
        }),
        fault::config("the hard one as the soft one", |spec| {
            for limit in spec.process.as_mut().into_iter().flat_map(|process| &mut process.rlimits) {
                limit.hard = limit.soft;
            }
        }),
    ]),
    Check::of_runtime(
        "process.rlimit.unknown",
        "a resource limit that there is not, and a soft one above the hard one, are refused",
        "OCI config.md, POSIX process, rlimits; setrlimit(2), EINVAL",
        rlimit_unknown,
    )
    .faults(&[fault::config("passed over", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.rlimits.clear();
        }
    })]),
    Check::of_runtime(
        "memory.policy",
        "linux.memoryPolicy is the policy of the application, and an unknown mode is refused",
        "OCI config-linux.md, Memory Policy; set_mempolicy(2)",
        memory_policy,
    )
    .faults(&[fault::config("dropped", |spec| spec.linux.get_or_insert_default().memory_policy = None)]),
    Check::of_runtime(
        "cpu.affinity.is-the-sets",
        "a runtime that is started on one CPU gives the application and exec all CPUs of the container's set",
        "sched_setaffinity(2); Linux 6.2, da019032819a; runc#4858",
        affinity_is_the_sets,
    )
    .needs(&[Need::Controller("cpuset"), Need::Cpus(2)])
    .faults(&[in_fixture(KEPT)]),
    Check::of_runtime(
        "cpu.exec-affinity",
        "execCPUAffinity says on which CPUs an exec'd process runs, and not the first one",
        "OCI config.md, Linux Process, execCPUAffinity",
        exec_affinity,
    )
    .needs(&[Need::Controller("cpuset"), Need::Cpus(2)])
    .faults(&[fault::config("dropped", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.exec_cpu_affinity = None;
        }
    })]),
];

const KEPT: &str = "a set of one CPU";

fn scheduler(runtime: &mut RuntimeFixture) -> Checked {
    const SCHED_BATCH: i32 = 3;
    version::at_least(runtime, (1, 1, 0), "process.scheduler")?;
    let policy = |name: &str, nice: i32, priority: i32| Scheduler {
        policy: name.into(),
        nice,
        priority,
        ..Scheduler::default()
    };
    let wanted = |runtime: &mut RuntimeFixture, scheduler: Scheduler| {
        runtime
            .container()
            .with(|spec| {
                if let Some(process) = spec.process.as_mut() {
                    process.scheduler = Some(scheduler);
                }
            })
            .attempt()
    };
    let mut container = wanted(runtime, policy("SCHED_BATCH", 7, 0))?.running()?;
    let seen = container.ask(terms::terms())?;
    let what = "policy, nice value and priority";
    runtime.seen.expect_eq(what, &(seen.policy, seen.nice, seen.priority), &(SCHED_BATCH, 7, 0));
    container.close()?;
    let started = wanted(runtime, policy("SCHED_FIFO", 0, 100))?;
    runtime.expect_refused("SCHED_FIFO with priority 100", started)
}

fn io_priority(runtime: &mut RuntimeFixture) -> Checked {
    version::at_least(runtime, (1, 1, 0), "process.ioPriority")?;
    for (class, number, level) in [("IOPRIO_CLASS_BE", 2, 6), ("IOPRIO_CLASS_IDLE", 3, 0)] {
        let wanted = runtime.container().with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.io_priority = Some(IoPriority { class: class.into(), priority: level });
            }
        });
        let mut container = wanted.start()?;
        let seen = container.ask(terms::terms())?;
        let what = format!("class and level with {class}");
        runtime.seen.expect_eq(&what, &(seen.io_class, seen.io_level), &(number, level));
        container.close()?;
    }
    Ok(())
}

fn exec_terms(runtime: &mut RuntimeFixture) -> Checked {
    version::at_least(runtime, (1, 1, 0), "process.scheduler")?;
    let wanted = runtime.container().with(|spec| {
        let Some(process) = spec.process.as_mut() else { return };
        process.scheduler = Some(Scheduler { policy: "SCHED_BATCH".into(), nice: 7, ..Scheduler::default() });
        process.io_priority = Some(IoPriority { class: "IOPRIO_CLASS_BE".into(), priority: 6 });
    });
    let mut container = wanted.start()?;
    let mut exec = container.exec()?;
    for (which, seen) in [("first", container.ask(terms::terms())?), ("exec'd", exec.ask(terms::terms())?)] {
        let what = format!("policy, nice value, class and level of the {which} process");
        runtime.seen.expect_eq(&what, &(seen.policy, seen.nice, seen.io_class, seen.io_level), &(3, 7, 2, 6));
    }
    drop(exec);
    container.close()?;
    Ok(())
}

fn personality(runtime: &mut RuntimeFixture) -> Checked {
    const PER_LINUX32: u32 = 8;
    let native = runtime.do_here(terms::terms())?.machine;
    let compatible = if native == "x86_64" { "i686" } else { "armv8l" };
    let wanted = runtime.container().with(|spec| {
        let domain = Personality { domain: "LINUX32".into(), ..Personality::default() };
        spec.linux.get_or_insert_default().personality = Some(domain);
    });
    let mut container = wanted.start()?;
    let mut exec = container.exec()?;
    for (which, seen) in [("first", container.ask(terms::terms())?), ("exec'd", exec.ask(terms::terms())?)] {
        runtime.seen.expect_eq(&format!("domain of the {which} process"), &seen.personality, &PER_LINUX32);
        runtime.seen.expect_text(
            &format!("machine that uname tells the {which} process"),
            &seen.machine,
            compatible,
        );
    }
    drop(exec);
    container.close()?;
    personality_behind_a_filter(runtime)
}

/// The filter is the application's, not the runtime's.
fn personality_behind_a_filter(runtime: &mut RuntimeFixture) -> Checked {
    let started = runtime
        .container()
        .with(|spec| {
            let linux = spec.linux.get_or_insert_default();
            linux.personality = Some(Personality { domain: "LINUX32".into(), ..Personality::default() });
            linux.seccomp = Some(super::exec::refuse("personality"));
            if let Some(process) = spec.process.as_mut() {
                process.no_new_privileges = true;
            }
        })
        .attempt()?;
    let what = "LINUX32 with a filter that refuses personality(2)";
    let Some(container) = runtime.expect_runs(what, started) else { return Ok(()) };
    let seen = std::fs::read_to_string(format!("/proc/{}/personality", container.pid))?;
    runtime.seen.expect_text("domain behind that filter, as the host sees it", seen.trim(), "00000008");
    container.close()?;
    Ok(())
}

/// Each limit with the line of /proc/PID/limits that shows it. Source: proc_pid_limits(5).
const LIMITS: [(&str, &str, u64, u64); 15] = [
    ("RLIMIT_AS", "Max address space", 1 << 42, 1 << 43),
    ("RLIMIT_CORE", "Max core file size", 4_096, 8_192),
    ("RLIMIT_CPU", "Max cpu time", 3_000, 4_000),
    ("RLIMIT_DATA", "Max data size", 1 << 40, 1 << 41),
    ("RLIMIT_FSIZE", "Max file size", 1 << 38, 1 << 39),
    ("RLIMIT_LOCKS", "Max file locks", 300, 400),
    ("RLIMIT_MEMLOCK", "Max locked memory", 1 << 16, 1 << 17),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size", 500_000, 600_000),
    ("RLIMIT_NICE", "Max nice priority", 3, 4),
    ("RLIMIT_NOFILE", "Max open files", 500, 600),
    ("RLIMIT_NPROC", "Max processes", 700, 800),
    ("RLIMIT_RSS", "Max resident set", 1 << 36, 1 << 37),
    ("RLIMIT_RTPRIO", "Max realtime priority", 5, 6),
    ("RLIMIT_SIGPENDING", "Max pending signals", 900, 1_000),
    ("RLIMIT_STACK", "Max stack size", 1 << 22, 1 << 23),
];

fn rlimits(runtime: &mut RuntimeFixture) -> Checked {
    // Not every root may raise a hard limit (CAP_SYS_RESOURCE), so what is asked for is within the caller's.
    let own = limits_of("self")?;
    let within = |name: &str, wanted: u64| {
        own.get(name).and_then(|(_, hard)| hard.parse().ok()).map_or(wanted, |most: u64| wanted.min(most))
    };
    let limits = LIMITS.map(|(kind, name, soft, hard)| {
        let hard = within(name, hard);
        (name, Rlimit { kind: kind.into(), soft: soft.min(hard), hard })
    });
    let wanted = runtime.container().with(|spec| {
        if let Some(process) = spec.process.as_mut() {
            process.rlimits = limits.iter().map(|(_, limit)| limit.clone()).collect();
        }
    });
    let container = wanted.start()?;
    let seen = limits_of(&container.pid.to_string())?;
    for (name, limit) in &limits {
        let (soft, hard) = seen.get(*name).cloned().unwrap_or_default();
        let what = format!("{}, soft and hard", limit.kind);
        runtime.seen.expect_text(&what, &format!("{soft} {hard}"), &format!("{} {}", limit.soft, limit.hard));
    }
    container.close()?;
    Ok(())
}

/// The soft and the hard limits of a process, by the names of /proc/PID/limits.
fn limits_of(pid: &str) -> Result<BTreeMap<String, (String, String)>, Trouble> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let read = |line: &str| {
        let mut words = line.get(26..)?.split_whitespace().map(str::to_owned);
        Some((line.get(..26)?.trim().to_owned(), (words.next()?, words.next()?)))
    };
    Ok(text.lines().filter_map(read).collect())
}

fn rlimit_unknown(runtime: &mut RuntimeFixture) -> Checked {
    for (what, kind, soft, hard) in [
        ("an unknown limit", "RLIMIT_TEA", 1, 2),
        ("a soft limit above the hard one", "RLIMIT_NOFILE", 600, 500),
    ] {
        let started = runtime
            .container()
            .with(|spec| {
                if let Some(process) = spec.process.as_mut() {
                    process.rlimits = vec![Rlimit { kind: kind.into(), soft, hard }];
                }
            })
            .attempt()?;
        runtime.expect_refused(what, started)?;
    }
    Ok(())
}

fn memory_policy(runtime: &mut RuntimeFixture) -> Checked {
    const MPOL_BIND: i32 = 2;
    if version::features(runtime)?["linux"]["memoryPolicy"].is_null() {
        return Err(Trouble::Skip("the subject's features name no memory policies".into()));
    }
    if runtime.do_here(terms::terms())?.memory_policy.is_none() {
        return Err(Trouble::Skip("this kernel has no memory policies (CONFIG_NUMA)".into()));
    }
    let wanted = |runtime: &mut RuntimeFixture, mode: &str| {
        let policy = MemoryPolicy { mode: mode.into(), nodes: "0".into(), flags: Vec::new() };
        runtime
            .container()
            .with(|spec| spec.linux.get_or_insert_default().memory_policy = Some(policy))
            .attempt()
    };
    let mut container = wanted(runtime, "MPOL_BIND")?.running()?;
    let seen = container.ask(terms::terms())?;
    let what = "memory policy";
    runtime.seen.expect_eq(what, &seen.memory_policy, &Some(MPOL_BIND));
    container.close()?;
    let started = wanted(runtime, "MPOL_TEA")?;
    // What the fault leaves out is refused by nobody.
    runtime.expect_refused("a mode that there is not", started)
}

fn affinity_is_the_sets(runtime: &mut RuntimeFixture) -> Checked {
    let own = sched_getaffinity(Pid::from_raw(0))?;
    let allowed: Vec<usize> = (0..CpuSet::count()).filter(|cpu| own.is_set(*cpu).unwrap_or(false)).collect();
    let [first, second, ..] = allowed[..] else {
        return Err(Trouble::Skip("only one CPU may be used".into()));
    };
    let set = if runtime.has(KEPT) { first.to_string() } else { format!("{first},{second}") };
    let mut narrow = CpuSet::new();
    narrow.set(first)?;
    // This thread starts the subject, which inherits where it may run.
    sched_setaffinity(Pid::from_raw(0), &narrow)?;
    let started = runtime
        .container()
        .with(|spec| resources(spec).cpu.get_or_insert_default().cpus = Some(set))
        .start()
        .and_then(|container| Ok((container.exec()?, container)));
    sched_setaffinity(Pid::from_raw(0), &own)?;
    let (mut exec, mut container) = started?;
    for (which, seen) in [("first", container.ask(cpu::affinity())?), ("exec'd", exec.ask(cpu::affinity())?)]
    {
        let what = format!("CPUs that the {which} process may use");
        runtime.seen.expect_eq(&what, &seen.allowed, &[first, second].into());
    }
    drop(exec);
    container.close()?;
    Ok(())
}

fn exec_affinity(runtime: &mut RuntimeFixture) -> Checked {
    version::at_least(runtime, (1, 2, 1), "process.execCPUAffinity")?;
    let mut container = runtime
        .container()
        .with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.exec_cpu_affinity = Some(ExecCpuAffinity { initial: "0".into(), last: "1".into() });
            }
        })
        .start()?;
    let mut exec = container.exec()?;
    runtime.seen.expect_eq("CPUs of the exec'd process", &exec.ask(cpu::affinity())?.allowed, &[1].into());
    let first = container.ask(cpu::affinity())?.allowed.len();
    runtime.seen.expect("CPUs of the first process", first, "2 or more", first >= 2);
    drop(exec);
    container.close()?;
    Ok(())
}
