//! The rules of control groups themselves: who may be where, who hears of it, and who may change what.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use runtime::cgroup::Version;
use runtime::process::clone::{Side, clone3};
use runtime::process::pidfd;

use kit::check::{Check, Checked, Trouble};
use kit::fault::{Fault, FaultKind, in_fixture};
use kit::kernel::KernelFixture;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::tasks;

const NEEDS: &[Need] = &[Need::Unified];

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "cgroup.kill.all",
        "v2: cgroup.kill (since Linux 5.14) kills every process of the subtree, forks in flight included",
        "cgroup-v2.rst, cgroup.kill",
        kill_all,
    )
    .needs(&[Need::Unified, Need::UnifiedFile("cgroup.kill")])
    .faults(&[in_fixture(ONE_SIGNAL)]),
    Check::of_kernel(
        "cgroup.populated.notifies",
        "v2: the populated event arrives when the last process leaves",
        "cgroup-v2.rst, [Un]populated Notification",
        populated,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(WRONG_GROUP)]),
    Check::of_kernel(
        "cgroup.no-internal-processes",
        "v2: handing down domain controllers from a populated group gives EBUSY, and threaded ones make it a threaded domain",
        "cgroup-v2.rst, No Internal Process Constraint",
        no_internal_processes,
    )
    .needs(&[Need::Unified, Need::DomainController])
    .faults(&[in_fixture(EMPTY)]),
    Check::of_kernel(
        "cgroup.rmdir-busy",
        "removing a populated group gives EBUSY",
        "cgroups(7), Creating cgroups and moving processes",
        rmdir_busy,
    )
    .faults(&[in_fixture(EMPTY)]),
    Check::of_kernel(
        "cgroup.delegation",
        "v2: a delegated subtree is writable by its owner, its limits are not",
        "cgroup-v2.rst, Delegation",
        delegation,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(LIMITS_TOO)]),
    Check::of_kernel(
        "cgroup.max-descendants",
        "v2: limits of depth and of descendants hold",
        "cgroup-v2.rst, cgroup.max.descendants and cgroup.max.depth",
        max_descendants,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(NOT_WRITTEN)]),
    Check::of_kernel(
        "cgroup.clone-into",
        "v2: a child cloned into a group (since Linux 5.7) never runs outside it",
        "clone(2), CLONE_INTO_CGROUP",
        clone_into,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(ATTACHED_LATER)]),
    Check::of_runtime(
        "cgroup.attach-writes-procs",
        "the container's process is in its own group of every controller that a configuration can limit or freeze",
        "OCI config-linux.md, Control groups; cgroups(7)",
        attach_writes_procs,
    )
    .needs(&[Need::Controller("cpu"), Need::Controller("pids")])
    .faults(&[
        Fault { name: "pids skipped", kind: FaultKind::SkipsController("pids") },
        Fault { name: "cpu skipped", kind: FaultKind::SkipsController("cpu") },
    ]),
];

const ONE_SIGNAL: &str = "one process signalled";
const WRONG_GROUP: &str = "wrong group watched";
const EMPTY: &str = "the process left first";
const LIMITS_TOO: &str = "limits given away too";
const NOT_WRITTEN: &str = "not written";
const ATTACHED_LATER: &str = "attached after the start";

fn errno(done: std::io::Result<()>) -> i32 {
    done.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

fn kill_all(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let child = cell.child("child")?;
    if let Ok(dir) = cell.dir("pids") {
        // A bound for the host's sake, should the kill fail.
        fs::write(dir.join("pids.max"), "64")?;
    }
    let mut probes = [child.probe()?, child.probe()?];
    for probe in &mut probes {
        probe.ask(tasks::breed(4))?;
    }
    if kernel.has(ONE_SIGNAL) {
        probes[0].kill()?;
    } else {
        fs::write(cell.v2()?.join("cgroup.kill"), "1")?;
    }
    let events = cell.v2()?.join("cgroup.events");
    let empty = wait_unpopulated(&events, Duration::from_millis(500))?;
    kernel.seen.expect_eq("the subtree is empty", &empty, &true);
    child.group().kill()?;
    drop(probes);
    Ok(())
}

/// Waits for the kernel's own notification.
fn wait_unpopulated(events: &Path, patience: Duration) -> Result<bool, Trouble> {
    let deadline = std::time::Instant::now() + patience;
    let mut file = fs::File::open(events)?;
    loop {
        let mut text = String::new();
        std::io::Seek::rewind(&mut file)?;
        std::io::Read::read_to_string(&mut file, &mut text)?;
        if text.contains("populated 0") {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], timeout)?;
    }
}

fn populated(kernel: &mut KernelFixture) -> Checked {
    let (cell, other) = (kernel.cell("group")?, kernel.cell("other")?);
    let mut probe = cell.probe()?;
    let watched = if kernel.has(WRONG_GROUP) { &other } else { &cell };
    let file = fs::File::open(watched.v2()?.join("cgroup.events"))?;
    // The first reading arms the notification.
    let text = std::io::read_to_string(&file)?;
    let before = text.lines().find(|line| line.starts_with("populated")).unwrap_or_default().to_owned();
    kernel.seen.expect_eq("the group has a process", &before, &"populated 1".to_owned());
    probe.kill()?;
    let told = poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], PollTimeout::from(1_000_u16))?;
    kernel.seen.expect_eq("notifications after its last process left", &told, &1);
    let after = fs::read_to_string(watched.v2()?.join("cgroup.events"))?;
    kernel.seen.expect_eq("the group is empty", &after.contains("populated 0"), &true);
    Ok(())
}

fn no_internal_processes(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let dir = cell.v2()?;
    let has = fs::read_to_string(dir.join("cgroup.controllers"))?;
    let first_of =
        |names: &[&str]| has.split_whitespace().find(|name| names.contains(name)).map(str::to_owned);
    let controller = first_of(&["memory", "io", "hugetlb", "rdma", "misc"]);
    let controller = controller
        .ok_or_else(|| Trouble::Skip(format!("the group has no domain controller: '{}'", has.trim())))?;
    let mut probe = cell.probe()?;
    if kernel.has(EMPTY) {
        probe.kill()?;
        wait_unpopulated(&dir.join("cgroup.events"), Duration::from_secs(5))?;
    }
    let enabled = errno(fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")));
    kernel.seen.expect_eq(&format!("error of handing down {controller}"), &enabled, &libc::EBUSY);
    // Threaded controllers are exempt. Source: cgroup-v2.rst, Threads.
    let Some(threaded) = first_of(&["cpu", "cpuset", "pids", "perf_event"]) else {
        kernel.seen.note(format!("no threaded controller is on this hierarchy: '{}'", has.trim()));
        return Ok(());
    };
    let threads = kernel.cell("threads")?;
    let dir = threads.v2()?;
    let probe = threads.probe()?;
    let enabled = errno(fs::write(dir.join("cgroup.subtree_control"), format!("+{threaded}")));
    kernel.seen.expect_eq(&format!("error of handing down {threaded}"), &enabled, &0);
    let kind = fs::read_to_string(dir.join("cgroup.type"))?;
    kernel.seen.expect_text("type of that group", kind.trim(), "domain threaded");
    drop(probe);
    Ok(())
}

fn rmdir_busy(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let mut probe = cell.probe()?;
    if kernel.has(EMPTY) {
        probe.kill()?;
        cell.group().kill()?;
    }
    for part in cell.group().parts() {
        let version = if part.hierarchy.version == Version::V1 { "v1" } else { "v2" };
        let what =
            format!("error of removing the group ({version} {})", part.hierarchy.controllers.join(","));
        kernel.seen.expect_eq(&what, &errno(fs::remove_dir(&part.dir)), &libc::EBUSY);
    }
    Ok(())
}

fn delegation(kernel: &mut KernelFixture) -> Checked {
    const USER: u32 = 1_000;
    let cell = kernel.cell("group")?;
    let dir = cell.v2()?.to_owned();
    // Which files a delegation gives away: the kernel has a list of them since 4.15.
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_default();
    let limit = dir.join("cgroup.max.depth");
    let mut given: Vec<_> = list.lines().map(|file| dir.join(file)).filter(|path| path.exists()).collect();
    if given.is_empty() {
        given =
            ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"].map(|file| dir.join(file)).to_vec();
    }
    given.push(dir.clone());
    if kernel.has(LIMITS_TOO) {
        given.push(limit.clone());
    }
    for path in given {
        chown(&path, Some(USER), Some(USER))?;
    }
    fs::create_dir(dir.join("inside"))?;
    chown(dir.join("inside"), Some(USER), Some(USER))?;
    chown(dir.join("inside/cgroup.procs"), Some(USER), Some(USER))?;
    let answers = kernel.in_child(|| {
        // It starts in the delegated group: only between groups of the subtree may it move.
        fs::write(dir.join("inside/cgroup.procs"), "0")?;
        let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        let own = errno(fs::create_dir(dir.join("own")));
        let moved = errno(fs::write(dir.join("own/cgroup.procs"), "0"));
        let limited = errno(fs::write(&limit, "5"));
        Ok(format!("{own} {moved} {limited}"))
    })?;
    let words: Vec<&str> = answers.split(' ').collect();
    for (what, seen, expected) in [
        ("making a group in the subtree", words.first(), 0),
        ("moving a process within the subtree", words.get(1), 0),
        ("changing the subtree's own limit", words.get(2), libc::EACCES),
    ] {
        let seen = seen.map_or("none", |word| *word).to_owned();
        kernel.seen.expect_eq(&format!("error of {what}"), &seen, &expected.to_string());
    }
    Ok(())
}

fn max_descendants(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let dir = cell.v2()?;
    if !kernel.has(NOT_WRITTEN) {
        fs::write(dir.join("cgroup.max.depth"), "1")?;
        fs::write(dir.join("cgroup.max.descendants"), "2")?;
    }
    let make = |name: &str| errno(fs::create_dir(dir.join(name)));
    kernel.seen.expect_eq("error of the first child", &make("a"), &0);
    kernel.seen.expect_eq("error of a grandchild where the depth is 1", &make("a/b"), &libc::EAGAIN);
    kernel.seen.expect_eq("error of the second child", &make("c"), &0);
    kernel.seen.expect_eq("error of a third where 2 are allowed", &make("d"), &libc::EAGAIN);
    Ok(())
}

fn clone_into(kernel: &mut KernelFixture) -> Checked {
    let cell = kernel.cell("group")?;
    let dir = fs::File::open(cell.v2()?)?;
    let (mut reader, mut writer) = std::io::pipe()?;
    let later = kernel.has(ATTACHED_LATER);
    let into = (!later).then(|| dir.as_fd());
    // SAFETY: this program has one thread.
    let side = unsafe { clone3(nix::sched::CloneFlags::empty(), into) };
    let child = match side {
        Err(nix::errno::Errno::EINVAL | nix::errno::Errno::E2BIG) => {
            return Err(Trouble::Skip("this kernel cannot clone into a cgroup".into()));
        }
        Err(error) => return Err(error.into()),
        Ok(Side::Child) => {
            // The first thing that it ever does.
            let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let _ = std::io::Write::write_all(&mut writer, own.as_bytes());
            // SAFETY: ends the child alone.
            unsafe { libc::_exit(0) }
        }
        Ok(Side::Parent(child)) => child,
    };
    drop(writer);
    let text = std::io::read_to_string(&mut reader)?;
    pidfd::reap(&child.pidfd)?;
    let own = text.lines().find(|line| line.starts_with("0::")).unwrap_or_default().to_owned();
    let name = cell.v2()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
    kernel.seen.expect(
        "group that the child found itself in",
        &own,
        format!("0::/{name}"),
        own.ends_with(&name),
    );
    Ok(())
}

/// What a configuration can limit, count or freeze. Source: OCI config-linux.md, Control groups; runc-pause(8).
const CONTROLLERS: [&str; 8] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"];

fn attach_writes_procs(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().pids(64).cpu_quota(50_000, 100_000).start()?;
    let pid = container.pid.to_string();
    let (group, name) = (container.group()?, container.group_name()?);
    for hierarchy in runtime.layout().hierarchies.clone() {
        for controller in CONTROLLERS.into_iter().filter(|controller| hierarchy.owns(controller)) {
            let files: &[&str] =
                if hierarchy.version == Version::V1 { &["cgroup.procs", "tasks"] } else { &["cgroup.procs"] };
            for file in files {
                // The group where the kernel sees it must be the container's.
                let dir = group.part(controller).map(|part| part.dir.clone()).unwrap_or_default();
                let is_own = name.owns(&dir);
                let text = if is_own { fs::read_to_string(dir.join(file))? } else { String::new() };
                let stands = text.lines().any(|line| line == pid);
                runtime.seen.expect_eq(
                    &format!("{controller}: the process stands in {file}"),
                    &stands,
                    &true,
                );
            }
        }
    }
    container.close()?;
    Ok(())
}
