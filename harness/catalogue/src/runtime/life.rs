//! The lifecycle of a container, as its commands and its processes show it.

use std::fs;
use std::path::Path;

use runtime::namespace::{self, Kind};
use runtime::oci::{Hook, Hooks};
use serde_json::{Value, json};

use kit::audit;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, in_fixture};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::{cpu, files, look, program, tasks};

const SOURCE: &str = "OCI runtime-spec, runtime.md, Lifecycle and Operations";
const PRETENDS_STATUS: &str = "always 0";
const STARTED_AT_CREATE: &str = "started at create";
const OVERWRITTEN: &str = "deleted before it was used again";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "life.exit-status",
        "`run` ends with the application's exit status, and with 128+n where signal n ended it",
        "runc(8), run; the shell's EXIT STATUS in bash(1): a convention of runtimes, of which the OCI specification says nothing",
        exit_status,
    )
    .faults(&[fault::config(PRETENDS_STATUS, |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.args = vec!["/probe".into(), "exit".into(), "0".into()];
        }
    })]),
    Check::of_runtime(
        "life.create-start-split",
        "create runs nothing of the application until start",
        SOURCE,
        create_start_split,
    )
    .faults(&[in_fixture(STARTED_AT_CREATE)]),
    Check::of_runtime(
        "life.states",
        "created, running, paused and stopped are told, and a second start and a delete of what runs are refused",
        "OCI runtime.md, State, start, delete; runc-pause(8) and runc-resume(8): the specification has neither",
        states,
    )
    .needs(&[Need::Freezer])
    .faults(&[
        Fault { name: "start allowed", kind: FaultKind::Pretends("start") },
        Fault { name: "delete allowed", kind: FaultKind::Pretends("delete") },
        Fault { name: "not paused", kind: FaultKind::PauseDropped },
    ]),
    Check::of_runtime(
        "life.pause-unpause",
        "every process of a paused container stands still, and goes on when resumed",
        "runc-pause(8), runc-resume(8); freezer-subsystem.rst; cgroup-v2.rst, cgroup.freeze",
        pause_unpause,
    )
    .needs(&[Need::Freezer, Need::CpuAccounting])
    .faults(&[Fault { name: "not frozen", kind: FaultKind::PauseDropped }]),
    Check::of_runtime(
        "life.hooks",
        "hooks run at their points, in order, in their namespaces, with the state of that moment on stdin",
        "OCI config.md, POSIX-platform Hooks",
        hooks,
    )
    .faults(&[fault::config("one skipped", |spec| {
        if let Some(hooks) = spec.hooks.as_mut() {
            hooks.create_container.clear();
        }
    }),
    fault::config("order reversed", |spec| {
        if let Some(hooks) = spec.hooks.as_mut() {
            hooks.create_runtime.reverse();
        }
    }),
    fault::config("in the runtime's namespaces", |spec| {
        if let Some(hooks) = spec.hooks.as_mut() {
            let moved: Vec<_> = hooks.create_container.drain(..).collect();
            hooks.create_runtime.extend(moved);
        }
    }),
    fault::config("after the start", |spec| {
        if let Some(hooks) = spec.hooks.as_mut() {
            let moved: Vec<_> = hooks.create_container.drain(..).collect();
            hooks.poststart.extend(moved);
        }
    })]),
    Check::of_runtime("life.id-reuse", "a used id is refused, and a deleted one is free", SOURCE, id_reuse)
        .faults(&[in_fixture(OVERWRITTEN)]),
    Check::of_runtime(
        "life.leaves-nothing",
        "after delete no mount, cgroup, process or file of the container is left",
        SOURCE,
        leaves_nothing,
    )
    .faults(&[Fault { name: "cleanup skipped", kind: FaultKind::CleanupSkipped }]),
];

fn exit_status(runtime: &mut RuntimeFixture) -> Checked {
    for status in [0, 1, 42, 255] {
        let seen = runtime.container().probe(program::exit(status)).run()?;
        runtime.seen.expect_eq(
            &format!("status of an application that exits with {status}"),
            &seen,
            &i32::from(status),
        );
    }
    // PID 1 cannot be ended by a signal of its own making; the host can.
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        let wanted = runtime.container().without_namespace(Kind::Pid).probe(tasks::die(signal));
        let seen = wanted.run()?;
        runtime.seen.expect_eq(&format!("status of one that signal {signal} ends"), &seen, &(128 + signal));
    }
    Ok(())
}

fn create_start_split(runtime: &mut RuntimeFixture) -> Checked {
    let volume = runtime.directory("volume")?;
    let file = volume.join("ran");
    let id = runtime.container().volume(&volume, "/data").probe(files::write("/data/ran", "x")).create()?;
    let driver = runtime.driver().clone();
    if runtime.has(STARTED_AT_CREATE) {
        driver.call(&["start", &id])?;
        driver.wait_stopped(&id)?;
    }
    runtime.seen.expect_eq("the application ran after create", &file.exists(), &false);
    let state = driver.state(&id)?.unwrap_or_default();
    runtime.seen.expect_json("status after create", &state["status"], &json!("created"));
    if !runtime.has(STARTED_AT_CREATE) {
        driver.call(&["start", &id])?;
        driver.wait_stopped(&id)?;
    }
    runtime.seen.expect_eq("the application ran after start", &file.exists(), &true);
    driver.delete(&id)
}

fn states(runtime: &mut RuntimeFixture) -> Checked {
    // Engines start what runs or has ended, as they document.
    runtime.driver().needs_bundles("a start that is refused")?;
    let id = runtime.container().probe(program::sleep()).create()?;
    let driver = runtime.driver().clone();
    let status =
        |id: &str| Ok::<_, Trouble>(driver.state(id)?.map_or(Value::Null, |state| state["status"].clone()));
    let refused = |words: &[&str]| Ok::<_, Trouble>(driver.refuses(words)?.0);
    runtime.seen.expect_json("after create", &status(&id)?, &json!("created"));
    driver.call(&["start", &id])?;
    runtime.seen.expect_json("after start", &status(&id)?, &json!("running"));
    runtime.seen.expect_eq("a second start is refused", &refused(&["start", &id])?, &true);
    runtime.seen.expect_eq("delete without force is refused", &refused(&["delete", &id])?, &true);
    driver.pause(&id)?;
    runtime.seen.expect_json("after pause", &status(&id)?, &json!("paused"));
    driver.resume(&id)?;
    runtime.seen.expect_json("after resume", &status(&id)?, &json!("running"));
    driver.call(&["kill", &id, "KILL"])?;
    driver.wait_stopped(&id)?;
    runtime.seen.expect_json("after kill", &status(&id)?, &json!("stopped"));
    runtime.seen.expect_eq("start is refused then", &refused(&["start", &id])?, &true);
    driver.call(&["delete", &id])?;
    runtime.seen.expect_json("after delete", &status(&id)?, &Value::Null);
    runtime.seen.expect_eq("start of what does not exist is refused", &refused(&["start", &id])?, &true);
    Ok(())
}

fn pause_unpause(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().start()?;
    let group = container.group()?;
    let cpuacct = group.part("cpuacct").or_else(|| group.part("cpu"));
    let name = container.group_name()?;
    let own = cpuacct.is_some_and(|part| name.owns(&part.dir));
    runtime.seen.expect_eq("the application is in a group of its own that accounts CPU time", &own, &true);
    if !own {
        container.close()?;
        return Ok(());
    }
    container.ask(cpu::spin_anywhere(2))?;
    let usage = || kit::measure::counted(group.stats().cpu_usage_ns, "CPU time");
    container.pause()?;
    let before = usage()?;
    // A stretch in which nothing must happen has no event that could be awaited.
    std::thread::sleep(std::time::Duration::from_millis(50));
    // A task counts as frozen when it is about to stop, which is at most a tick before it does.
    let (used, most) =
        (usage()? - before, u64::try_from(kit::measure::tick().as_nanos()).unwrap_or(u64::MAX));
    runtime.seen.expect(
        "CPU time used in 50 ms while paused, in ns",
        used,
        format!("{most} or less"),
        used <= most,
    );
    container.resume()?;
    let answered = container.ask(cpu::burn(10000)).is_ok();
    runtime.seen.expect_eq("it answers after resume", &answered, &true);
    let since = usage()? - before;
    runtime.seen.expect("CPU time used since, in ns", since, "10000000 or more", since >= 9_000_000);
    container.close()?;
    Ok(())
}

/// What a hook told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    point: String,
    id: String,
    status: String,
    mount_namespace: u64,
}

fn told(log: &Path) -> Result<Vec<Told>, Trouble> {
    let read = |line: &str| {
        let [point, id, status, namespace] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let [point, id, status] = [point, id, status].map(str::to_owned);
        Some(Told { point, id, status, mount_namespace: namespace.parse().ok()? })
    };
    let text = fs::read_to_string(log)?;
    let lines = text.lines();
    lines
        .map(|line| read(line).ok_or_else(|| Trouble::Harness(format!("the hooks' log: '{line}'"))))
        .collect()
}

/// Two hooks at each point. The status is that of the container then, and whether the hook runs in the container's namespaces.
/// Source: OCI config.md, POSIX-platform Hooks; runtime.md, Lifecycle.
const POINTS: [(&str, &str, bool); 5] = [
    ("createRuntime", "creating", false),
    ("createContainer", "creating", true),
    ("startContainer", "created", true),
    ("poststart", "running", false),
    ("poststop", "stopped", false),
];

fn hooks(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("hooks at create, apart from those at start")?;
    let log = runtime.directory("hooks")?.join("log");
    fs::write(&log, "")?;
    // The probe is static, so it runs on the host as it does inside.
    let program = runtime.image()?.join("probe");
    let two = |point: &str| -> Vec<Hook> {
        let inside = point == "startContainer";
        let (path, log) =
            if inside { ("/probe".into(), "/hooks/log".into()) } else { (program.clone(), log.clone()) };
        let hook = |which: u32| Hook {
            path: path.clone(),
            args: vec!["probe".into(), "hook".into(), format!("{point}-{which}"), log.display().to_string()],
            env: Vec::new(),
            timeout: Some(10),
        };
        vec![hook(1), hook(2)]
    };
    let hooks = Hooks {
        create_runtime: two("createRuntime"),
        create_container: two("createContainer"),
        start_container: two("startContainer"),
        poststart: two("poststart"),
        poststop: two("poststop"),
        ..Hooks::default()
    };
    let shared = runtime.directory("hooks")?;
    let wanted = runtime.container().volume(&shared, "/hooks").with(|spec| spec.hooks = Some(hooks));
    let id = wanted.probe(program::sleep()).create()?;
    let driver = runtime.driver().clone();
    let points = |so_far: usize| -> Vec<String> {
        let points = POINTS.iter().take(so_far);
        points.flat_map(|(point, ..)| [format!("{point}-1"), format!("{point}-2")]).collect()
    };
    let names = || Ok::<_, Trouble>(told(&log)?.into_iter().map(|told| told.point).collect::<Vec<_>>());
    runtime.seen.expect_eq("hooks after create", &names()?, &points(2));
    driver.call(&["start", &id])?;
    runtime.seen.expect_eq("hooks after start", &names()?, &points(4));
    let state = driver.state(&id)?.unwrap_or_default();
    let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| Trouble::Subject(format!("state tells no pid: {state}")))?;
    let own = namespace::id(pid, Kind::Mount)?;
    driver.call(&["kill", &id, "KILL"])?;
    driver.wait_stopped(&id)?;
    driver.delete(&id)?;
    let told = told(&log)?;
    let names: Vec<String> = told.iter().map(|told| told.point.clone()).collect();
    runtime.seen.expect_eq("hooks after delete", &names, &points(5));
    for told in &told {
        let point = &told.point;
        runtime.seen.expect_eq(&format!("id that {point} got"), &told.id, &id);
        let known =
            POINTS.iter().find(|(name, ..)| point.strip_suffix(['1', '2']) == Some(&format!("{name}-")));
        let Some((_, status, inside)) = known else { continue };
        runtime.seen.expect_text(&format!("status that {point} got"), &told.status, status);
        let within = told.mount_namespace == own;
        runtime.seen.expect_eq(&format!("{point} runs in the container's mount namespace"), &within, inside);
    }
    Ok(())
}

fn id_reuse(runtime: &mut RuntimeFixture) -> Checked {
    let id = runtime.container().probe(program::sleep()).create()?;
    let bundle = runtime.driver().bundle_of(&id)?;
    let driver = runtime.driver().clone();
    if runtime.has(OVERWRITTEN) {
        driver.call(&["delete", "--force", &id])?;
    }
    let again = driver.create(&bundle, &id);
    let refused = matches!(again, Err(Trouble::Subject(_)));
    runtime.seen.expect_eq("a second container of the same id is refused", &refused, &true);
    let state = driver.state(&id)?.unwrap_or_default();
    runtime.seen.expect_json("the first one's status afterwards", &state["status"], &json!("created"));
    driver.call(&["delete", "--force", &id])?;
    driver.create(&bundle, &id)?;
    runtime.seen.expect_eq("after delete the id is free", &driver.state(&id)?.is_some(), &true);
    driver.call(&["delete", "--force", &id])
}

fn leaves_nothing(runtime: &mut RuntimeFixture) -> Checked {
    let volume = runtime.directory("volume")?;
    let id = runtime
        .container()
        .volume(&volume, "/data")
        .tmpfs("/scratch", &[])
        .pids(64)
        .probe(look::alive())
        .create()?;
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    driver.wait_stopped(&id)?;
    driver.delete(&id)?;
    let left = audit::remains(runtime.layout(), &id);
    runtime.seen.expect("left on the host", format!("{left:?}"), "[]", left.is_empty());
    // What all containers share, as crun's empty directory, is none of this one's.
    let state: Vec<_> = driver
        .state_files()?
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(&id)))
        .collect();
    runtime.seen.expect(
        "of it in the subject's state directory",
        format!("{state:?}"),
        "[]",
        state.is_empty(),
    );
    runtime.seen.expect_eq("the subject still knows it", &driver.state(&id)?.is_some(), &false);
    Ok(())
}
