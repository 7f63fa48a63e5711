//! What a runtime tells of its containers, what it hands to them, and limits that change.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::Duration;

use runtime::oci::{Spec, User};
use runtime::process::pidfd;
use serde_json::{Value, json};

use kit::audit;
use kit::channel;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, in_fixture, resources};
use kit::need::Need;
use kit::runtime::{Container, RuntimeFixture};
use kit::terminal::{Console, read_line};
use kit::verbs::{cpu, look, program, state, tasks};

use super::life_commands::{REFUSED, pid_of};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "life.state-fields",
        "state tells version, id, status, pid, bundle and annotations as they are",
        "OCI runtime.md, State",
        state_fields,
    )
    .faults(&[fault::config("annotations dropped", |spec| spec.annotations.clear())]),
    Check::of_runtime("life.list", "list shows each container with its status and pid", "runc-list(8)", list)
        .faults(&[in_fixture(DELETED)]),
    Check::of_runtime("life.ps", "ps lists the processes of the container, and no other", "runc-ps(8)", ps)
        .faults(&[in_fixture(ONE_MORE)]),
    Check::of_runtime(
        "life.pid-file",
        "the file that create was asked for holds the pid that state tells, and no more",
        "runc-create(8), --pid-file",
        pid_file,
    )
    .faults(&[in_fixture(ANOTHER_PID)]),
    Check::of_runtime(
        "life.detached",
        "run --detach returns while the container runs on",
        "runc-run(8), --detach",
        detached,
    )
    .faults(&[in_fixture(ENDED)]),
    Check::of_runtime(
        "life.delete-force",
        "delete --force ends what runs, and leaves nothing",
        "runc-delete(8), --force",
        delete_force,
    )
    .faults(&[Fault { name: "says that it did", kind: FaultKind::Pretends("delete") }]),
    Check::of_runtime(
        "life.preserve-fds",
        "of a caller's descriptors the application gets as many as --preserve-fds says",
        "runc-run(8), --preserve-fds",
        preserve_fds,
    )
    .faults(&[Fault { name: "one more", kind: FaultKind::LeaksDescriptor("/dev/null") }]),
    Check::of_runtime(
        "life.tty.owner",
        "the terminal belongs to the application's user, and /dev/console is the same one",
        "OCI config.md, Process, terminal; config-linux.md, Default Devices, /dev/console; runc, tty.bats",
        tty_owner,
    )
    .faults(&[fault::config("root's", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.user = User::default();
        }
    })]),
    Check::of_runtime(
        "life.update-keeps-others",
        "update of one limit, with the others absent, changes that one alone",
        "runc-update(8), --resources; docker update",
        update_keeps_others,
    )
    .needs(&[Need::Controller("pids"), Need::Controller("cpuset"), Need::Cpus(2)])
    .faults(&[UPDATE_DROPPED, in_fixture(OTHERS_RESET)]),
    Check::of_runtime(
        "life.update-refused",
        "an update that the kernel refuses is an error, and the limit that was there holds on",
        "runc-update(8)",
        update_refused,
    )
    .needs(&[Need::Controller("pids"), Need::Controller("cpuset")])
    .faults(&[UPDATE_DROPPED]),
    Check::of_runtime(
        "life.update-is-atomic",
        "an update of several limits of which the kernel refuses one leaves all of them as they were",
        "runc, Container.Set: the old configuration is set again; docker update",
        update_is_atomic,
    )
    .needs(&[Need::Controller("pids"), Need::Controller("cpuset"), Need::Cpus(2)])
    .faults(&[in_fixture(HALF_APPLIED)]),
];

const UPDATE_DROPPED: Fault = fault::UPDATE_DROPPED;
const DELETED: &str = "one deleted before";
const ONE_MORE: &str = "a process that left the group";
const ANOTHER_PID: &str = "another pid written";
const ENDED: &str = "ended at once";
const HALF_APPLIED: &str = "half applied";
const OTHERS_RESET: &str = "the others reset";

fn state_fields(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("its state")?;
    let wanted = runtime.container().probe(program::sleep()).with(|spec| {
        spec.annotations.insert("org.plimsoll.word".into(), "as asked for".into());
    });
    let id = wanted.create()?;
    let driver = runtime.driver().clone();
    for status in ["created", "running"] {
        let state = driver.state(&id)?.unwrap_or_default();
        runtime.seen.expect_json("status", &state["status"], &json!(status));
        runtime.seen.expect_json("id", &state["id"], &json!(id));
        let version = state["ociVersion"].as_str().unwrap_or_default();
        runtime.seen.expect("ociVersion", version, "1 and more parts", version.starts_with("1."));
        runtime.seen.expect_json(
            "annotations",
            &state["annotations"]["org.plimsoll.word"],
            &json!("as asked for"),
        );
        let bundle = fs::canonicalize(state["bundle"].as_str().unwrap_or_default()).unwrap_or_default();
        let own = bundle.join("config.json").exists() && bundle.ends_with(&id);
        runtime.seen.expect_eq("bundle is the absolute path of the container's", &own, &true);
        let group = fs::read_to_string(format!("/proc/{}/cgroup", pid_of(runtime, &id)?)).unwrap_or_default();
        runtime.seen.expect_eq("pid is a process of the container's groups", &group.contains(&id), &true);
        if status == "created" {
            driver.call(&["start", &id])?;
        }
    }
    driver.call(&["delete", "--force", &id])
}

fn list(runtime: &mut RuntimeFixture) -> Checked {
    let ids = [
        runtime.container().probe(program::sleep()).create()?,
        runtime.container().probe(program::sleep()).create()?,
    ];
    let driver = runtime.driver().clone();
    driver.call(&["start", &ids[1]])?;
    let pids = [pid_of(runtime, &ids[0])?, pid_of(runtime, &ids[1])?];
    if runtime.has(DELETED) {
        driver.call(&["delete", "--force", &ids[0]])?;
    }
    let (_, out, _) = driver.output(&["list", "--format", "json"], Stdio::null())?;
    let listed: Vec<Value> =
        serde_json::from_str(&out).map_err(|error| Trouble::Subject(format!("list: {error}: {out}")))?;
    for (place, status) in [(0, "created"), (1, "running")] {
        let entry = listed.iter().find(|entry| entry["id"] == json!(ids[place]));
        let seen = entry.map(|entry| json!([entry["status"], entry["pid"]])).unwrap_or_default();
        runtime.seen.expect_json(
            &format!("status and pid of the {status} one"),
            &seen,
            &json!([status, pids[place]]),
        );
    }
    for id in &ids {
        let _ = driver.call(&["delete", "--force", id]);
    }
    Ok(())
}

fn ps(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().start()?;
    container.ask(tasks::spawn(2))?;
    let group = container.group()?;
    // Of a hierarchy that the subject left out it would be the host's processes.
    let name = container.group_name()?;
    let own = group.parts().iter().find(|part| name.owns(&part.dir));
    let own = own.ok_or_else(|| Trouble::Subject("the container has no group of its own".into()))?;
    let members = fs::read_to_string(own.dir.join("cgroup.procs"))?;
    let mut wanted: BTreeSet<i32> = members.lines().filter_map(|line| line.parse().ok()).collect();
    runtime.seen.expect_eq("how many the container has", &wanted.len(), &3);
    if runtime.has(ONE_MORE) {
        wanted.insert(1);
    }
    let driver = runtime.driver().clone();
    let (_, out, err) = driver.output(&["ps", "--format", "json", &container.id], Stdio::null())?;
    let listed: Vec<i32> =
        serde_json::from_str(&out).map_err(|error| Trouble::Subject(format!("ps: {error}: {out}{err}")))?;
    runtime.seen.expect_eq("processes that ps lists", &listed.into_iter().collect::<BTreeSet<_>>(), &wanted);
    container.close()?;
    Ok(())
}

fn pid_file(runtime: &mut RuntimeFixture) -> Checked {
    let (id, bundle) = runtime.container().probe(program::sleep()).bundle()?;
    let driver = runtime.driver().clone();
    let file = bundle.join("pid");
    driver.create_with(&bundle, &id, &["--pid-file", &file.display().to_string()])?;
    if runtime.has(ANOTHER_PID) {
        fs::write(&file, "1")?;
    }
    let text = fs::read_to_string(&file)?;
    runtime.seen.expect_text("content of the file", &text, &pid_of(runtime, &id)?.to_string());
    driver.call(&["delete", "--force", &id])
}

fn detached(runtime: &mut RuntimeFixture) -> Checked {
    let ends = runtime.has(ENDED);
    let wanted = if ends {
        runtime.container().probe(look::alive())
    } else {
        runtime.container().probe(program::sleep())
    };
    let (id, bundle) = wanted.bundle()?;
    let driver = runtime.driver().clone();
    driver.call_quietly(&["run", "--detach", "--bundle", &bundle.display().to_string(), &id])?;
    if ends {
        driver.wait_stopped(&id)?;
    }
    let state = driver.state(&id)?.unwrap_or_default();
    runtime.seen.expect_json("status once run has returned", &state["status"], &json!("running"));
    driver.call(&["delete", "--force", &id])
}

fn delete_force(runtime: &mut RuntimeFixture) -> Checked {
    let id = runtime.container().pids(64).probe(program::sleep()).create()?;
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    let first = pidfd::open(pid_of(runtime, &id)?)?;
    driver.call(&["delete", "--force", &id])?;
    let ended = pidfd::wait_exit(
        first.as_fd(),
        Duration::from_millis(if runtime.has("says that it did") { 50 } else { 2_000 }),
    )?;
    runtime.seen.expect_eq("its first process has ended", &ended, &true);
    runtime.seen.expect_eq("the subject still knows it", &driver.state(&id)?.is_some(), &false);
    let left = audit::remains(runtime.layout(), &id);
    runtime.seen.expect("left on the host", format!("{left:?}"), "[]", left.is_empty());
    if runtime.has("says that it did") {
        driver.output(&["delete", "--force", &id], Stdio::null())?;
    }
    Ok(())
}

fn preserve_fds(runtime: &mut RuntimeFixture) -> Checked {
    for (count, expected) in [(0, vec![0, 1, 2]), (1, vec![0, 1, 2, 3]), (2, vec![0, 1, 2, 3, 4])] {
        let (id, bundle) = runtime.container().probe(state::descriptors()).bundle()?;
        let driver = runtime.driver().clone();
        let said = driver.run_with_descriptors(&bundle, &id, 3, count)?;
        let seen = channel::printed(state::descriptors(), said.trim())?;
        runtime.seen.expect_eq(
            &format!("descriptors of 3 more with --preserve-fds {count}"),
            &seen,
            &expected,
        );
    }
    Ok(())
}

fn tty_owner(runtime: &mut RuntimeFixture) -> Checked {
    let mut seen = Vec::new();
    for path in ["/dev/pts/0", "/dev/console"] {
        let (id, bundle) = runtime.container().probe(state::stat(path)).terminal().user(1_000).bundle()?;
        let driver = runtime.driver().clone();
        let console = Console::listen(&bundle)?;
        driver.create_on(&bundle, &id, &console.path.display().to_string())?;
        let master = console.accept()?;
        driver.call(&["start", &id])?;
        let said = read_line(&master)?;
        let of = channel::printed(state::stat(path), said.trim())?;
        driver.wait_stopped(&id)?;
        driver.delete(&id)?;
        runtime.seen.expect_eq(&format!("owner of {path}"), &of.uid, &1_000);
        seen.push((of.kind, of.device));
    }
    runtime.seen.expect_eq("kind and number of /dev/console, and of the terminal", &seen[1], &seen[0]);
    Ok(())
}

/// A container with a limit of 8 tasks, on the first CPU.
fn limited(runtime: &mut RuntimeFixture) -> Result<Container, Trouble> {
    let on_the_first = |spec: &mut Spec| {
        resources(spec).cpu.get_or_insert_default().cpus = Some("0".into());
    };
    runtime.container().pids(8).with(on_the_first).start()
}

fn update_keeps_others(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = limited(runtime)?;
    let driver = runtime.driver().clone();
    let update = |change: &Value| -> Checked {
        let file = runtime_file(runtime, "update.json")?;
        fs::write(&file, change.to_string())?;
        driver.call(&["update", "--resources", &file, &container.id])
    };
    update(&json!({ "cpu": { "cpus": "0-1" } }))?;
    if runtime.has(OTHERS_RESET) {
        update(&json!({ "pids": { "limit": 32 } }))?;
    }
    let allowed = container.ask(cpu::affinity())?.allowed.len();
    let forked = container.ask(tasks::fork_until_refused(64))?.made;
    runtime.seen.expect_eq("CPUs after the update of the CPUs alone", &allowed, &2);
    runtime.seen.expect_eq("children beside the first of 8 processes after it", &forked, &7);
    update_again(runtime, &mut container)?;
    container.close()?;
    Ok(())
}

fn update_again(runtime: &mut RuntimeFixture, container: &mut Container) -> Checked {
    let file = runtime_file(runtime, "again.json")?;
    fs::write(&file, json!({ "pids": { "limit": 6 } }).to_string())?;
    runtime.driver().clone().call(&["update", "--resources", &file, &container.id])?;
    let allowed = container.ask(cpu::affinity())?.allowed.len();
    let forked = container.ask(tasks::fork_until_refused(64))?.made;
    runtime.seen.expect_eq("CPUs after the update of the tasks alone", &allowed, &2);
    runtime.seen.expect_eq("children beside the first of 6 processes after it", &forked, &5);
    Ok(())
}

/// A file of the try.
fn runtime_file(runtime: &RuntimeFixture, name: &str) -> Result<String, Trouble> {
    Ok(runtime.directory("updates")?.join(name).display().to_string())
}

fn update_refused(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().pids(8).start()?;
    let driver = runtime.driver().clone();
    let before = container.ask(cpu::affinity())?.allowed;
    // No machine has such a CPU.
    let (refused, said) = driver.refuses(&["update", "--cpuset-cpus", "8000", &container.id])?;
    runtime.seen.expect("an update to a CPU that there is not", said, REFUSED, refused);
    runtime.seen.expect_eq("CPUs afterwards, and before", &container.ask(cpu::affinity())?.allowed, &before);
    let forked = container.ask(tasks::fork_until_refused(64))?.made;
    runtime.seen.expect_eq("children beside the first of 8 processes", &forked, &7);
    container.close()?;
    Ok(())
}

fn update_is_atomic(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = limited(runtime)?;
    let driver = runtime.driver().clone();
    // No machine has such a CPU. The task limit by itself would be taken.
    let whole = json!({ "pids": { "limit": 6 }, "cpu": { "cpus": "0,8000" } });
    let file = runtime_file(runtime, "whole.json")?;
    fs::write(&file, whole.to_string())?;
    let (refused, said) = driver.refuses(&["update", "--resources", &file, &container.id])?;
    runtime.seen.expect("an update to 6 tasks and a CPU that there is not", said, REFUSED, refused);
    if runtime.has(HALF_APPLIED) {
        fs::write(&file, json!({ "pids": { "limit": 6 } }).to_string())?;
        driver.call(&["update", "--resources", &file, &container.id])?;
    }
    let allowed: Vec<usize> = container.ask(cpu::affinity())?.allowed.into_iter().collect();
    let forked = container.ask(tasks::fork_until_refused(64))?.made;
    runtime.seen.expect_eq(
        "CPUs, and children beside the first of 8 processes",
        &(allowed, forked),
        &(vec![0], 7),
    );
    container.close()?;
    Ok(())
}
