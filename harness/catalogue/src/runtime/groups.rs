//! Control groups that a runtime makes, joins, freezes and removes.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runtime::cgroup::{Group, Layout};
use runtime::oci::{HugePages, Pids};
use runtime::process::pidfd;

use kit::audit;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, in_fixture, resources};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::{cpu, look, program, tasks};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "cgroup.every-hierarchy",
        "an exec'd process is in the container's group on every hierarchy, and no directory is made where none is mounted",
        "cgroups(7); OCI config-linux.md, Control groups; crun#436",
        every_hierarchy,
    )
    .faults(&[
        Fault { name: "exec left in the caller's groups", kind: FaultKind::ExecOutsideCgroups },
        in_fixture(STRAY),
    ]),
    Check::of_runtime(
        "cgroup.frozen-start-refused",
        "create into a frozen group is an error within seconds",
        "runc, libcontainer: a process in a frozen group would never become the application; cgroup-v2.rst, cgroup.freeze",
        frozen_start,
    )
    .needs(&[Need::Freezer])
    .faults(&[in_fixture(THAWED)]),
    Check::of_runtime(
        "cgroup.delete-sub-groups",
        "delete removes the groups that were made below the container's, frozen ones too",
        "OCI runtime.md, delete: what create made MUST be deleted; runc#2105",
        delete_sub_groups,
    )
    .faults(&[Fault { name: "cleanup skipped", kind: FaultKind::CleanupSkipped }]),
    Check::of_runtime(
        "cgroup.v2.unified",
        "resources.unified is written as asked on v2",
        "OCI config-linux.md, Unified",
        unified,
    )
    .needs(&[Need::V2("pids")])
    .faults(&[fault::config("ignored", |spec| resources(spec).unified.clear())]),
    Check::of_runtime(
        "cgroup.v1.unified-refused",
        "resources.unified is an error where the controller is on v1",
        "OCI config-linux.md, Unified: an error MUST be generated if the file is not there",
        unified_refused,
    )
    .needs(&[Need::V1("pids")])
    .faults(&[fault::config("ignored", |spec| resources(spec).unified.clear())]),
    Check::of_runtime(
        "cgroup.path.nested",
        "an absolute cgroupsPath is below the root of each hierarchy, with the groups above it made",
        "OCI config-linux.md, Cgroups Path",
        nested_path,
    )
    .faults(&[fault::config("the last part alone", |spec| {
        let linux = spec.linux.get_or_insert_default();
        linux.cgroups_path =
            linux.cgroups_path.as_ref().and_then(|path| path.parent().map(|parent| parent.join("else")));
    })]),
    Check::of_runtime(
        "cgroup.path.stays-inside",
        "a cgroupsPath with .. makes nothing outside of the hierarchies",
        "OCI config-linux.md, Cgroups Path; CWE-22",
        path_stays_inside,
    )
    .faults(&[in_fixture(PLAIN_JOIN)]),
    Check::of_runtime(
        "cpu.idle.by-runtime",
        "linux.resources.cpu.idle yields the CPU to whoever wants it",
        "OCI config-linux.md, CPU, idle; sched(7), SCHED_IDLE",
        idle,
    )
    .needs(&[Need::GroupFile("cpu", "cpu.idle", "cpu.idle"), Need::CpuAccounting])
    .faults(&[fault::config("dropped", |spec| {
        if let Some(cpu) = resources(spec).cpu.as_mut() {
            cpu.idle = None;
        }
    })])
    .timing("the weight of an idle group is 3 beside one of 1024"),
    Check::of_runtime(
        "hugetlb.by-runtime",
        "hugepageLimits hold: the page beyond the limit is refused by SIGBUS",
        "OCI config-linux.md, Huge page limits; hugetlb.rst of cgroup-v1",
        huge_pages,
    )
    .needs(&[Need::Controller("hugetlb"), Need::HugePages])
    .faults(&[fault::config("dropped", |spec| resources(spec).hugepage_limits.clear())]),
];

const STRAY: &str = "a stray directory";
const THAWED: &str = "not frozen";
const PLAIN_JOIN: &str = "plain join";

/// The lines of /proc/PID/cgroup, without the numbers of hierarchies, which say nothing here.
fn account(pid: i32) -> Result<Vec<String>, Trouble> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    Ok(text.lines().filter_map(|line| line.split_once(':').map(|(_, rest)| rest.to_owned())).collect())
}

fn every_hierarchy(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().pids(64).start()?;
    let exec = container.exec()?;
    let (first, second) = (account(container.pid)?, account(exec.pid)?);
    let name = container.group_name()?;
    let has_own = |line: &&String| line.split_once(':').is_some_and(|(_, path)| name.owns(Path::new(path)));
    let own = first.iter().filter(has_own).count();
    runtime.seen.expect(
        "hierarchies on which the first process has its own group",
        own,
        "1 or more",
        own > 0,
    );
    runtime.seen.expect_eq("groups of the exec'd process, and of the first one", &second, &first);
    let also = runtime.has(STRAY).then_some(runtime.directory("fs")?);
    let stray = stray_directories(runtime.layout(), &container.id, also.as_deref())?;
    runtime.seen.expect(
        "directories where no hierarchy is mounted",
        format!("{stray:?}"),
        "[]",
        stray.is_empty(),
    );
    drop(exec);
    container.close()?;
    Ok(())
}

/// Directories named after a container below /sys/fs/cgroup on no cgroup file system; under the fault one below `also`.
fn stray_directories(layout: &Layout, id: &str, also: Option<&Path>) -> Result<Vec<PathBuf>, Trouble> {
    let mut roots: Vec<PathBuf> = Vec::new();
    // On v2 everything below is the hierarchy's own.
    if layout.hierarchies.iter().all(|hierarchy| hierarchy.mount_point != Path::new("/sys/fs/cgroup")) {
        roots.extend(fs::read_dir("/sys/fs/cgroup")?.flatten().map(|entry| entry.path()));
    }
    if let Some(dir) = also {
        fs::create_dir_all(dir.join("hugetlb").join(id))?;
        roots.push(dir.join("hugetlb"));
    }
    roots.retain(|root| layout.hierarchies.iter().all(|hierarchy| hierarchy.mount_point != *root));
    Ok(roots
        .into_iter()
        .map(|root| root.join(id))
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect())
}

fn frozen_start(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("a container in a group that was there before")?;
    let wanted = runtime.container();
    let (id, bundle) = wanted.bundle()?;
    let group = Group::plan(runtime.layout(), &Path::new("/").join(&id))?;
    group.make()?;
    if !runtime.has(THAWED) {
        group.set_frozen(true)?;
    }
    let driver = runtime.driver().clone();
    let errors = bundle.join("errors");
    let begun = Instant::now();
    let mut child = driver.spawn_create(&bundle, &id, &errors)?;
    let process = pidfd::open(child.id().cast_signed())?;
    let ended = pidfd::wait_exit(process.as_fd(), Duration::from_secs(5))?;
    let took = begun.elapsed();
    // It may be gone with the container that could not be made.
    let _ = group.set_frozen(false);
    if !ended {
        pidfd::signal(process.as_fd(), nix::sys::signal::Signal::SIGKILL)?;
    }
    let status = child.wait()?;
    let said = fs::read_to_string(&errors).unwrap_or_default();
    runtime.seen.expect(
        "create into a frozen group",
        format!("{status} after {} ms: {}", took.as_millis(), said.trim()),
        "an error within 5 s",
        ended && !status.success() && !said.trim().is_empty(),
    );
    let _ = driver.call(&["delete", "--force", &id]);
    let _ = group.kill();
    let _ = group.remove();
    Ok(())
}

fn delete_sub_groups(runtime: &mut RuntimeFixture) -> Checked {
    let id = runtime.container().pids(64).probe(program::sleep()).create()?;
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    let below = Path::new("/").join(&id);
    let group = Group::of_process(runtime.layout(), super::life_commands::pid_of(runtime, &id)?)?;
    // The host's processes may be in the root of a hierarchy that the subject left out.
    let name = driver.group_name(&id)?;
    let own: Vec<&Path> =
        group.parts().iter().map(|part| part.dir.as_path()).filter(|dir| name.owns(dir)).collect();
    for dir in &own {
        for name in ["inner", "inner/deeper", "frozen"] {
            fs::create_dir(dir.join(name))?;
        }
        for (file, word) in [("freezer.state", "FROZEN"), ("cgroup.freeze", "1")] {
            if dir.join("frozen").join(file).exists() {
                fs::write(dir.join("frozen").join(file), word)?;
            }
        }
    }
    let count = own.len();
    runtime.seen.expect("hierarchies with groups below the container's", count, "1 or more", count > 0);
    driver.call(&["kill", &id, "KILL"])?;
    driver.wait_stopped(&id)?;
    driver.delete(&id)?;
    // An engine's have another name.
    let mut left = audit::cgroups(runtime.layout(), &id);
    left.extend(own.iter().filter(|dir| dir.exists()).map(|dir| dir.to_path_buf()));
    runtime.seen.expect("groups after it was deleted", format!("{left:?}"), "[]", left.is_empty());
    for name in ["inner/deeper", "inner", "frozen", ""] {
        let _ = Group::plan(runtime.layout(), &below.join(name))?.remove();
    }
    Ok(())
}

fn unified(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        resources(spec).unified.insert("pids.max".into(), "8".into());
    });
    let mut container = wanted.start()?;
    let forked = container.ask(tasks::fork_until_refused(64))?;
    runtime.seen.expect_eq("children beside the first of 8 processes", &forked.made, &7);
    container.close()?;
    Ok(())
}

fn unified_refused(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        resources(spec).unified.insert("pids.max".into(), "8".into());
    });
    let started = wanted.attempt()?;
    runtime.expect_refused("a container with unified's pids.max", started)
}

fn nested_path(runtime: &mut RuntimeFixture) -> Checked {
    let (mut id, mut above) = (String::new(), PathBuf::new());
    let wanted = runtime.container().with(|spec| {
        resources(spec).pids = Some(Pids { limit: 8 });
    });
    let mut container = wanted
        .with_id(|given, spec| {
            given.clone_into(&mut id);
            above = Path::new("/").join(given);
            spec.linux.get_or_insert_default().cgroups_path = Some(above.join("middle/inner"));
        })
        .start()?;
    let expected = format!("/{id}/middle/inner");
    let layout = runtime.layout().clone();
    for controller in ["pids", "memory", "cpu"] {
        let Some(owner) = layout.owner(controller) else { continue };
        let file = owner.mount_point.join(expected.trim_start_matches('/')).join("cgroup.procs");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let there = text.lines().any(|line| line == container.pid.to_string());
        runtime.seen.expect_eq(&format!("{controller}: the application is in {expected}"), &there, &true);
    }
    if layout.owner("pids").is_some() {
        let forked = container.ask(tasks::fork_until_refused(64))?;
        runtime.seen.expect_eq("children beside the first of 8 processes", &forked.made, &7);
    }
    container.close()?;
    for path in [above.join("middle/inner"), above.join("middle/else"), above.join("middle"), above] {
        let group = Group::plan(&layout, &path)?;
        let _ = group.remove();
    }
    Ok(())
}

fn path_stays_inside(runtime: &mut RuntimeFixture) -> Checked {
    let outside = runtime.directory("outside")?;
    let place = outside.join("group");
    let climb = "/..".repeat(12);
    let wanted = PathBuf::from(format!("{climb}{}", place.display()));
    let mut id = String::new();
    let started = runtime
        .container()
        .with_id(|given, spec| {
            given.clone_into(&mut id);
            spec.linux.get_or_insert_default().cgroups_path = Some(wanted.join(given));
        })
        .attempt()?;
    if runtime.has(PLAIN_JOIN) {
        fs::create_dir_all(place.join(&id))?;
    }
    let made = place.exists();
    let (account, container) = match started {
        kit::runtime::Started::Runs(container) => (account(container.pid)?, Some(container)),
        kit::runtime::Started::Refused(refusal) => {
            runtime.seen.note(format!("refused: {refusal}"));
            (Vec::new(), None)
        }
    };
    runtime.seen.expect_eq("a directory was made outside of the hierarchies", &made, &false);
    let climbs = account.iter().any(|line| line.contains(".."));
    runtime.seen.expect_eq("the application is in a group above the root", &climbs, &false);
    if let Some(container) = container {
        container.close()?;
    }
    // Inside the hierarchies the path may have been made.
    let mut below = place.strip_prefix("/").unwrap_or(&place).join(&id);
    while !below.as_os_str().is_empty() {
        for hierarchy in &runtime.layout().hierarchies {
            let _ = fs::remove_dir(hierarchy.mount_point.join(&below));
        }
        below = below.parent().map(Path::to_path_buf).unwrap_or_default();
    }
    Ok(())
}

fn idle(runtime: &mut RuntimeFixture) -> Checked {
    let mut patient = runtime
        .container()
        .with(|spec| resources(spec).cpu.get_or_insert_default().idle = Some(1))
        .start()?;
    let mut busy = runtime.container().start()?;
    let groups = (patient.group()?, busy.group()?);
    busy.ask(cpu::spin(1))?;
    patient.ask(cpu::spin(1))?;
    let used = || -> Result<(u64, u64), Trouble> {
        let of = |group: &Group| kit::measure::counted(group.stats().cpu_usage_ns, "CPU time");
        Ok((of(&groups.0)?, of(&groups.1)?))
    };
    let before = used()?;
    // A stretch of both running has no event that could be awaited.
    std::thread::sleep(Duration::from_millis(300));
    let after = used()?;
    let (idle, other) = (after.0 - before.0, after.1 - before.1);
    let share = 100.0 * kit::measure::as_f64(idle) / kit::measure::as_f64((idle + other).max(1));
    patient.close()?;
    busy.close()?;
    runtime.seen.expect_in(
        "share of the CPU that the idle container got, in %",
        share,
        0.0..=10.0,
        "3 of 1027 shares, and a tick",
        0.0,
    );
    Ok(())
}

fn huge_pages(runtime: &mut RuntimeFixture) -> Checked {
    const SIZE: u64 = 2 << 20;
    let wanted = runtime.container().with(|spec| {
        resources(spec).hugepage_limits = vec![HugePages { page_size: "2MB".into(), limit: 2 * SIZE }];
    });
    let mut container = wanted.start()?;
    for (pages, signal) in [(2, 0), (3, libc::SIGBUS)] {
        let ended = container.ask(tasks::touch_huge(pages, SIZE))?;
        runtime.seen.expect_eq(
            &format!("signal and status of a child that touches {pages} pages where 2 are allowed"),
            &(ended.signal, ended.status),
            &(signal, 0),
        );
    }
    container.ask(look::alive())?;
    container.close()?;
    Ok(())
}
