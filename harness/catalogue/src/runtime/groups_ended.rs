//! Processes of a container that no PID namespace ends.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use runtime::cgroup::Group;
use runtime::namespace::Kind;
use runtime::oci::Namespace;
use runtime::process::pidfd;

use kit::check::{Check, Checked, Trouble};
use kit::fault::{Fault, FaultKind, in_fixture};
use kit::runtime::{Container, RuntimeFixture};
use kit::verbs::tasks;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "cgroup.kill-all",
        "kill --all ends every process of a container that shares the host's PID namespace, those in groups below the container's too",
        "runc-kill(8), --all; crun 1.27; the OCI specification has signals for the first process alone",
        kill_all,
    )
    .faults(&[Fault { name: NOBODY, kind: FaultKind::Pretends("kill") }]),
    Check::of_runtime(
        "cgroup.delete-ends-all",
        "delete --force ends the processes that have outlived the first one of a container without a PID namespace of its own",
        "OCI runtime.md, delete: what create made MUST be deleted, the groups that they are in; runc#3825",
        delete_ends_all,
    )
    .faults(&[Fault { name: PRETENDS, kind: FaultKind::Pretends("delete") }, in_fixture(HIDDEN)]),
];

const NOBODY: &str = "nobody is ended";
const PRETENDS: &str = "says that it did";
const HIDDEN: &str = "in another group";

/// How long a process that was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many of them live on; they are ended here.
fn left_of(processes: &[OwnedFd], patience: Duration) -> Result<usize, Trouble> {
    let mut left = 0;
    for process in processes {
        if !pidfd::wait_exit(process.as_fd(), patience)? {
            left += 1;
            pidfd::signal(process.as_fd(), Signal::SIGKILL)?;
        }
    }
    Ok(left)
}

/// Children of the first process that nothing ties to it.
fn children(container: &mut Container, count: usize) -> Result<Vec<i32>, Trouble> {
    (0..count).map(|_| container.ask(tasks::leave_child())).collect()
}

fn open(pids: &[i32]) -> Result<Vec<OwnedFd>, Trouble> {
    Ok(pids.iter().map(|pid| pidfd::open(*pid)).collect::<Result<_, _>>()?)
}

/// Puts a process into a group below its container's, on every hierarchy on which that has one of its own.
fn into_sub_group(container: &Container, pid: i32) -> Result<Vec<std::path::PathBuf>, Trouble> {
    let (group, name) = (container.group()?, container.group_name()?);
    let own: Vec<&Path> =
        group.parts().iter().map(|part| part.dir.as_path()).filter(|dir| name.owns(dir)).collect();
    let mut made = Vec::new();
    for dir in own {
        let below = dir.join("below");
        fs::create_dir(&below)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(text) = fs::read_to_string(dir.join(file)).map(|text| text.trim().to_owned())
                && !text.is_empty()
            {
                fs::write(below.join(file), text)?;
            }
        }
        fs::write(below.join("cgroup.procs"), pid.to_string())?;
        made.push(below);
    }
    Ok(made)
}

fn kill_all(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("processes by the numbers that the host has for them")?;
    let mut container = runtime.container().without_namespace(Kind::Pid).start()?;
    let beside = children(&mut container, 3)?;
    let below = children(&mut container, 1)?;
    let made = into_sub_group(&container, below[0])?;
    runtime.seen.expect(
        "hierarchies with a group below the container's",
        made.len(),
        "1 or more",
        !made.is_empty(),
    );
    let processes = [open(&[&[container.pid], &beside[..]].concat())?, open(&below)?];
    let patience = if runtime.has(NOBODY) { Duration::from_millis(100) } else { PATIENCE };
    runtime.driver().clone().call(&["kill", "--all", &container.id, "KILL"])?;
    let left = (left_of(&processes[0], patience)?, left_of(&processes[1], patience)?);
    runtime.seen.expect_eq("of 4 processes, those that live on", &left.0, &0);
    runtime.seen.expect_eq("of 1 process in a sub-group, those that live on", &left.1, &0);
    container.close()?;
    for dir in made {
        let _ = fs::remove_dir(dir);
    }
    kill_all_below(runtime, patience)
}

/// Of a container whose own group has become empty, as an init system leaves it.
fn kill_all_below(runtime: &mut RuntimeFixture, patience: Duration) -> Checked {
    let mut container = runtime.container().without_namespace(Kind::Pid).start()?;
    let pids = [&[container.pid], &children(&mut container, 1)?[..]].concat();
    let made = into_sub_group(&container, pids[1])?;
    for dir in &made {
        fs::write(dir.join("cgroup.procs"), pids[0].to_string())?;
    }
    let processes = open(&pids)?;
    let killed = runtime.driver().clone().call(&["kill", "--all", &container.id, "KILL"]);
    let said = match killed {
        Ok(()) => String::new(),
        Err(Trouble::Subject(said)) => said,
        Err(other) => return Err(other),
    };
    let left = left_of(&processes, patience)?;
    let what = "of 2 processes, both in a sub-group of an empty group, those that live on";
    runtime.seen.expect(what, format!("{left} {said}"), "0", left == 0);
    container.close()?;
    for dir in made {
        let _ = fs::remove_dir(dir);
    }
    Ok(())
}

fn delete_ends_all(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("namespaces by paths of the host")?;
    outlived(runtime, None)?;
    // With another container's namespace it is as with the host's.
    let other = runtime.container().start()?;
    outlived(runtime, Some(other.pid))?;
    other.close()?;
    Ok(())
}

/// Deletes a container whose first process is gone, in the PID namespace of the host or of a process.
fn outlived(runtime: &mut RuntimeFixture, joined: Option<i32>) -> Checked {
    let wanted = runtime.container().without_namespace(Kind::Pid).probe(tasks::leave_children(2));
    let id = wanted
        .with(|spec| {
            let path = joined.map(|pid| format!("/proc/{pid}/ns/pid").into());
            if path.is_some() {
                spec.linux.get_or_insert_default().namespaces.push(Namespace { kind: Kind::Pid, path });
            }
        })
        .create()?;
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    let first = super::life_commands::pid_of(runtime, &id)?;
    let group = Group::of_process(runtime.layout(), first)?;
    // The host's processes may be in the root of a hierarchy that the subject left out.
    let own = group.parts().iter().find(|part| part.dir.ends_with(&id));
    let own = own.map(|part| part.dir.join("cgroup.procs"));
    let own = own.ok_or_else(|| Trouble::Subject("the container has no group of its own".into()))?;
    let members = || -> Result<Vec<i32>, Trouble> {
        let text = fs::read_to_string(&own)?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != first).collect())
    };
    // The children are there a moment after the start.
    let begun = std::time::Instant::now();
    while members()?.len() < 2 && begun.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    let others = members()?;
    runtime.seen.expect_eq("processes beside the first one", &others.len(), &2);
    let processes = open(&others)?;
    pidfd::signal(pidfd::open(first)?.as_fd(), Signal::SIGKILL)?;
    driver.wait_stopped(&id)?;
    if runtime.has(HIDDEN) {
        let root = Group::of_process(runtime.layout(), std::process::id().cast_signed())?;
        others.iter().try_for_each(|pid| root.attach(*pid))?;
    }
    // Whether it says that it worked is not the claim.
    match driver.call(&["delete", "--force", &id]) {
        Ok(()) => {}
        Err(Trouble::Subject(said)) => runtime.seen.note(said),
        Err(other) => return Err(other),
    }
    let pretends = runtime.has(PRETENDS) || runtime.has(HIDDEN);
    let patience = if pretends { Duration::from_millis(100) } else { PATIENCE };
    let left = left_of(&processes, patience)?;
    let whose = if joined.is_some() { "another container's" } else { "the host's" };
    let what =
        format!("of 2 processes that outlived the first one in {whose} PID namespace, those that live on");
    runtime.seen.expect_eq(&what, &left, &0);
    if left > 0 {
        driver.output(&["delete", "--force", &id], Stdio::null())?;
    }
    Ok(())
}
