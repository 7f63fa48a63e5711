//! The lifecycle of a container, as its commands and its processes show it.

use kit::channel;
use std::fs;
use std::io::Write;
use std::process::Stdio;

use runtime::oci::{Hook, Hooks};
use serde_json::{Value, json};

use kit::audit;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, How, scene};
use kit::need::Need;
use kit::trial::Trial;
use kit::verbs::{cpu, files, look, program, state, tasks};

const SOURCE: &str = "OCI runtime-spec, runtime.md, Lifecycle and Operations";
const PRETENDS_STATUS: &str = "always 0";
const STARTED_AT_CREATE: &str = "started at create";
const OVERWRITTEN: &str = "deleted before it was used again";
const PIPE: &str = "pipe";
const CLOSED: &str = "closed";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "life.exit-status",
        "the exit status is the application's; 128+n for signal n",
        SOURCE,
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
    .faults(&[scene(STARTED_AT_CREATE)]),
    Check::of_runtime(
        "life.states",
        "created, running, paused and stopped are told, and illegal transitions are refused",
        SOURCE,
        states,
    )
    .needs(&[Need::Root, Need::Freezer])
    .faults(&[Fault { name: "one allowed", how: How::Pretends("start") }]),
    Check::of_runtime(
        "life.pause-unpause",
        "every process of a paused container stands still, and goes on when resumed",
        SOURCE,
        pause_unpause,
    )
    .needs(&[Need::Root, Need::Freezer])
    .faults(&[Fault { name: "not frozen", how: How::PauseDropped }]),
    Check::of_runtime(
        "life.tty",
        "a terminal of its own: right size, controlling, and Ctrl-C reaches the application",
        "OCI config.md, Process, terminal; pty(7)",
        terminal,
    )
    .faults(&[scene(PIPE)]),
    Check::of_runtime("life.stdin", "stdin reaches the application, and its end ends it", SOURCE, stdin)
        .faults(&[scene(CLOSED)]),
    Check::of_runtime(
        "life.hooks",
        "hooks run at their points, in order, with the state on stdin",
        "OCI config.md, POSIX-platform Hooks",
        hooks,
    )
    .faults(&[fault::config("one skipped", |spec| {
        if let Some(hooks) = spec.hooks.as_mut() {
            hooks.create_container.clear();
        }
    })]),
    Check::of_runtime("life.id-reuse", "a used id is refused, and a deleted one is free", SOURCE, id_reuse)
        .faults(&[scene(OVERWRITTEN)]),
    Check::of_runtime(
        "life.leaves-nothing",
        "after delete no mount, cgroup, process or file of the container is left",
        SOURCE,
        leaves_nothing,
    )
    .faults(&[Fault { name: "cleanup skipped", how: How::CleanupSkipped }]),
];

fn exit_status(trial: &mut Trial) -> Checked {
    for status in [0, 1, 42, 255] {
        let seen = trial.container().probe(program::exit(status)).run()?;
        trial.seen.expect_eq(
            &format!("status of an application that exits with {status}"),
            &seen,
            &i32::from(status),
        );
    }
    // PID 1 cannot be ended by a signal of its own making; the host can.
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        let wanted =
            trial.container().without_namespace(runtime::namespace::Kind::Pid).probe(tasks::die(signal));
        let seen = wanted.run()?;
        trial.seen.expect_eq(&format!("status of one that signal {signal} ends"), &seen, &(128 + signal));
    }
    Ok(())
}

fn create_start_split(trial: &mut Trial) -> Checked {
    let volume = trial.directory("volume")?;
    let file = volume.join("ran");
    let id = trial.container().volume(&volume, "/data").probe(files::write("/data/ran", "x")).create()?;
    let driver = trial.driver().clone();
    if trial.has(STARTED_AT_CREATE) {
        driver.call(&["start", &id])?;
        driver.wait_stopped(&id)?;
    }
    trial.seen.expect_eq("the application ran after create", &file.exists(), &false);
    let state = driver.state(&id)?.unwrap_or_default();
    trial.seen.expect_json("status after create", &state["status"], &json!("created"));
    if !trial.has(STARTED_AT_CREATE) {
        driver.call(&["start", &id])?;
        driver.wait_stopped(&id)?;
    }
    trial.seen.expect_eq("the application ran after start", &file.exists(), &true);
    driver.delete(&id)
}

fn states(trial: &mut Trial) -> Checked {
    let id = trial.container().probe(program::sleep()).create()?;
    let driver = trial.driver().clone();
    let status =
        |id: &str| Ok::<_, Trouble>(driver.state(id)?.map_or(Value::Null, |state| state["status"].clone()));
    let refused = |words: &[&str]| match driver.call(words) {
        Ok(()) => Ok(false),
        Err(Trouble::Subject(_)) => Ok(true),
        Err(other) => Err(other),
    };
    trial.seen.expect_json("after create", &status(&id)?, &json!("created"));
    trial.seen.expect_eq("resume is refused then", &refused(&["resume", &id])?, &true);
    driver.call(&["start", &id])?;
    trial.seen.expect_json("after start", &status(&id)?, &json!("running"));
    trial.seen.expect_eq("a second start is refused", &refused(&["start", &id])?, &true);
    trial.seen.expect_eq("delete without force is refused", &refused(&["delete", &id])?, &true);
    driver.call(&["pause", &id])?;
    trial.seen.expect_json("after pause", &status(&id)?, &json!("paused"));
    driver.call(&["resume", &id])?;
    driver.call(&["kill", &id, "KILL"])?;
    driver.wait_stopped(&id)?;
    trial.seen.expect_json("after kill", &status(&id)?, &json!("stopped"));
    trial.seen.expect_eq("start is refused then", &refused(&["start", &id])?, &true);
    driver.call(&["delete", &id])?;
    trial.seen.expect_json("after delete", &status(&id)?, &Value::Null);
    trial.seen.expect_eq("start of what does not exist is refused", &refused(&["start", &id])?, &true);
    Ok(())
}

fn pause_unpause(trial: &mut Trial) -> Checked {
    let mut container = trial.container().start()?;
    let group = container.group()?;
    container.ask(cpu::spin_anywhere(2))?;
    let usage = || group.stats().cpu_usage_ns.unwrap_or(0);
    container.pause()?;
    let before = usage();
    // A stretch in which nothing must happen has no event that could be awaited.
    std::thread::sleep(std::time::Duration::from_millis(50));
    // A task counts as frozen when it is about to stop, which is at most a tick before it does.
    let (used, most) = (usage() - before, u64::try_from(kit::measure::tick().as_nanos()).unwrap_or(u64::MAX));
    trial.seen.expect(
        "CPU time used in 50 ms while paused, in ns",
        used,
        format!("{most} or less"),
        used <= most,
    );
    container.resume()?;
    let answered = container.ask(cpu::burn(10000)).is_ok();
    trial.seen.expect_eq("it answers after resume", &answered, &true);
    trial.seen.expect(
        "CPU time used since, in ns",
        usage() - before,
        "10000000 or more",
        usage() - before >= 9_000_000,
    );
    container.close()?;
    Ok(())
}

fn terminal(trial: &mut Trial) -> Checked {
    use kit::terminal::Console;
    let pipe = trial.has(PIPE);
    let (id, bundle) = trial
        .container()
        .with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.terminal = !pipe;
                process.console_size = (!pipe).then_some(runtime::oci::ConsoleSize { height: 33, width: 77 });
                process.args = vec!["/probe".into(), "terminal".into()];
            }
        })
        .bundle()?;
    let driver = trial.driver().clone();
    let said = if pipe {
        driver.said(&["run", "--bundle", &bundle.display().to_string(), &id], Stdio::null())?.1
    } else {
        let console = Console::listen(&bundle)?;
        let socket = console.path.display().to_string();
        driver.create_on(&bundle, &id, &socket)?;
        let master = console.accept()?;
        driver.call(&["start", &id])?;
        let said = kit::terminal::read_line(&master)?;
        driver.wait_stopped(&id)?;
        driver.delete(&id)?;
        said
    };
    let seen = channel::printed(state::terminal(), said.trim())?;
    trial.seen.expect_eq("terminal", &seen.terminal, &true);
    trial.seen.expect_eq("rows and columns", &(seen.rows, seen.columns), &(Some(33), Some(77)));
    trial.seen.expect_eq("controls", &seen.controls, &true);
    trial.seen.expect_eq("session", &seen.session, &true);
    Ok(())
}

fn stdin(trial: &mut Trial) -> Checked {
    let (id, bundle) = trial.container().probe(state::count_stdin()).bundle()?;
    let driver = trial.driver().clone();
    let (reader, mut writer) = std::io::pipe()?;
    let closed = trial.has(CLOSED);
    let feeder = std::thread::spawn(move || {
        if !closed {
            let _ = writer.write_all(&[1; 100_000]);
        }
    });
    let (status, said, complaint) =
        driver.said(&["run", "--bundle", &bundle.display().to_string(), &id], Stdio::from(reader))?;
    let _ = feeder.join();
    let seen = channel::printed(state::count_stdin(), said.trim())?;
    trial.seen.expect_eq("bytes that arrived before the end", &seen.bytes, &100_000);
    trial.seen.expect_eq("their sum", &seen.sum, &100_000);
    trial.seen.expect("exit status", status, format!("0 ({})", complaint.trim()), status == 0);
    Ok(())
}

fn hooks(trial: &mut Trial) -> Checked {
    let log = trial.directory("hooks")?.join("log");
    fs::write(&log, "")?;
    // The probe is static, so it runs on the host as it does inside.
    let program = trial.image()?.join("probe");
    let hook = |point: &str, program: &std::path::Path, log: &std::path::Path| Hook {
        path: program.to_owned(),
        args: vec!["probe".into(), "hook".into(), point.into(), log.display().to_string()],
        env: Vec::new(),
        timeout: Some(10),
    };
    let on_host = |point: &str| vec![hook(point, &program, &log)];
    let hooks = Hooks {
        create_runtime: on_host("createRuntime"),
        create_container: on_host("createContainer"),
        start_container: vec![hook(
            "startContainer",
            std::path::Path::new("/probe"),
            std::path::Path::new("/hooks/log"),
        )],
        poststart: on_host("poststart"),
        poststop: on_host("poststop"),
        ..Hooks::default()
    };
    let shared = log.parent().map(std::path::Path::to_owned).unwrap_or_default();
    let id = trial
        .container()
        .volume(&shared, "/hooks")
        .with(|spec| spec.hooks = Some(hooks))
        .probe(look::alive())
        .create()?;
    let driver = trial.driver().clone();
    let told = || Ok::<_, Trouble>(fs::read_to_string(&log)?);
    let points = |text: &str| {
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    trial.seen.expect_eq(
        "hooks after create",
        &points(&told()?),
        &["createRuntime", "createContainer"].map(str::to_owned).to_vec(),
    );
    driver.call(&["start", &id])?;
    driver.wait_stopped(&id)?;
    let expected =
        ["createRuntime", "createContainer", "startContainer", "poststart"].map(str::to_owned).to_vec();
    let mut seen = points(&told()?);
    // The application may be faster than the hook that runs beside it.
    if seen.len() == 4 {
        seen[2..].sort_unstable_by_key(|point| point == "poststart");
    }
    trial.seen.expect_eq("hooks after start", &seen, &expected);
    driver.delete(&id)?;
    let text = told()?;
    trial.seen.expect_eq(
        "the last hook after delete",
        &points(&text).last().cloned(),
        &Some("poststop".to_owned()),
    );
    let without: Vec<_> = text.lines().filter(|line| line.split(' ').nth(1) != Some(&id)).collect();
    trial.seen.expect(
        "hooks without the container's state on stdin",
        format!("{without:?}"),
        "[]",
        without.is_empty(),
    );
    Ok(())
}

fn id_reuse(trial: &mut Trial) -> Checked {
    let id = trial.container().probe(program::sleep()).create()?;
    let bundle = trial.driver().bundle_of(&id)?;
    let driver = trial.driver().clone();
    if trial.has(OVERWRITTEN) {
        driver.call(&["delete", "--force", &id])?;
    }
    let again = driver.create(&bundle, &id);
    let refused = matches!(again, Err(Trouble::Subject(_)));
    trial.seen.expect_eq("a second container of the same id is refused", &refused, &true);
    let state = driver.state(&id)?.unwrap_or_default();
    trial.seen.expect_json("the first one's status afterwards", &state["status"], &json!("created"));
    driver.call(&["delete", "--force", &id])?;
    driver.create(&bundle, &id)?;
    trial.seen.expect_eq("after delete the id is free", &driver.state(&id)?.is_some(), &true);
    driver.call(&["delete", "--force", &id])
}

fn leaves_nothing(trial: &mut Trial) -> Checked {
    let volume = trial.directory("volume")?;
    let id = trial
        .container()
        .volume(&volume, "/data")
        .tmpfs("/scratch", &[])
        .pids(64)
        .probe(look::alive())
        .create()?;
    let driver = trial.driver().clone();
    driver.call(&["start", &id])?;
    driver.wait_stopped(&id)?;
    driver.delete(&id)?;
    let left = audit::remains(trial.layout(), &id);
    trial.seen.expect("left on the host", format!("{left:?}"), "[]", left.is_empty());
    let state = driver.state_files()?;
    trial.seen.expect("left in the subject's state directory", format!("{state:?}"), "[]", state.is_empty());
    trial.seen.expect_eq("the subject still knows it", &driver.state(&id)?.is_some(), &false);
    Ok(())
}
