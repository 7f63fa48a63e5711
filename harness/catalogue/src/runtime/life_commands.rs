//! Commands of a runtime beyond the plain lifecycle: signals, and what is refused.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use runtime::process::pidfd;
use serde_json::{Value, json};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{Fault, FaultKind, in_fixture};
use kit::runtime::{Driver, RuntimeFixture};
use kit::verbs::{look, program};

pub(super) const REFUSED: &str = "refused with an error and its reason";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "life.signals",
        "kill sends signals by number, real-time ones too, and by name with and without SIG; an unknown one is refused",
        "OCI runtime.md, kill; runc-kill(8); signal(7)",
        signals,
    )
    .faults(&[Fault { name: "says that it was sent", kind: FaultKind::Pretends("kill") }]),
    Check::of_runtime(
        "life.kill-stopped",
        "a signal to a container that has stopped is an error",
        "OCI runtime.md, kill: to a container neither created nor running MUST generate an error",
        kill_stopped,
    )
    .faults(&[Fault { name: "says that it was sent", kind: FaultKind::Pretends("kill") }]),
    Check::of_runtime(
        "life.kill-created",
        "a signal ends a container that was created and not started",
        "OCI runtime.md, kill: created or running",
        kill_created,
    )
    .faults(&[Fault { name: "says that it was sent", kind: FaultKind::Pretends("kill") }]),
    Check::of_runtime(
        "life.start-without-process",
        "a container without a process cannot be started",
        "OCI config.md, Process: REQUIRED when start is called; runtime-tools#813",
        start_without_process,
    )
    .faults(&[in_fixture(WITH_PROCESS)]),
    Check::of_runtime(
        "life.config-refused",
        "a configuration that is no JSON, a relative working directory and a mount without a destination are refused",
        "OCI config.md, Process, cwd: an absolute path; Mounts, destination: REQUIRED; runtime.md, Errors",
        config_refused,
    )
    .faults(&[in_fixture(FINE)]),
    Check::of_runtime(
        "life.id-refused",
        "an id that is a path, or empty, is refused and makes nothing outside of the runtime's directory",
        "CWE-22; runc, validateID",
        id_refused,
    )
    .faults(&[in_fixture(ACCEPTED)]),
];

const ACCEPTED: &str = "accepted";
const WITH_PROCESS: &str = "with a process";
const FINE: &str = "a configuration that is fine";

/// The first process of a container, as state tells it.
pub(super) fn pid_of(runtime: &RuntimeFixture, id: &str) -> Result<i32, Trouble> {
    let state = runtime.driver().state(id)?.unwrap_or_default();
    let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.ok_or_else(|| Trouble::Subject(format!("state tells no pid: {state}")))
}

fn signals(runtime: &mut RuntimeFixture) -> Checked {
    let real_time = (libc::SIGRTMIN() + 3).to_string();
    let by_number = libc::SIGRTMIN() + 3;
    for (word, number) in [
        ("TERM", libc::SIGTERM),
        ("SIGHUP", libc::SIGHUP),
        ("10", libc::SIGUSR1),
        (real_time.as_str(), by_number),
    ] {
        let (id, bundle) = runtime.container().probe(program::await_signal()).bundle()?;
        let driver = runtime.driver().clone();
        let mut child = driver.spawn_run_of(&bundle, &id)?;
        let mut out = child.stdout.take().ok_or_else(|| Trouble::Harness("no pipe".into()))?;
        let waits = line(&mut out)?;
        runtime.seen.expect_text("what an application says that waits for a signal", &waits, "waiting");
        driver.call(&["kill", &id, word])?;
        let came = if runtime.has("says that it was sent") { String::new() } else { line(&mut out)? };
        runtime.seen.expect_text(
            &format!("what came of the signal '{word}'"),
            &came,
            &format!("signal {number}"),
        );
        let _ = driver.call(&["delete", "--force", &id]);
        let _ = child.kill();
        child.wait()?;
    }
    unknown_signals(runtime)
}

/// Words and numbers that are no signal; afterwards the application still waits for one.
fn unknown_signals(runtime: &mut RuntimeFixture) -> Checked {
    let (id, bundle) = runtime.container().probe(program::await_signal()).bundle()?;
    let driver = runtime.driver().clone();
    let mut child = driver.spawn_run_of(&bundle, &id)?;
    let mut out = child.stdout.take().ok_or_else(|| Trouble::Harness("no pipe".into()))?;
    line(&mut out)?;
    for unknown in ["SIGTEA", "TEA", "TERMX", "RTMIN+99", "9x", "65"] {
        let (refused, said) = driver.refuses(&["kill", &id, unknown])?;
        runtime.seen.expect(&format!("the signal {unknown}"), said, REFUSED, refused);
    }
    if !runtime.has("says that it was sent") {
        // One that was taken for another signal may have ended it.
        let came = match driver.call(&["kill", &id, "TERM"]) {
            Ok(()) => line(&mut out)?,
            Err(Trouble::Subject(said)) => said,
            Err(other) => return Err(other),
        };
        runtime.seen.expect_text("what came after those that were refused", &came, "signal 15");
    }
    let _ = driver.call(&["delete", "--force", &id]);
    let _ = child.kill();
    child.wait()?;
    Ok(())
}

/// A line, or what came before the end.
fn line(out: &mut impl std::io::Read) -> Result<String, Trouble> {
    let mut text = Vec::new();
    let mut byte = [0];
    while out.read(&mut byte)? == 1 && byte != *b"\n" {
        text.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn kill_stopped(runtime: &mut RuntimeFixture) -> Checked {
    let id = runtime.container().probe(look::alive()).create()?;
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    driver.wait_stopped(&id)?;
    let (refused, said) = driver.refuses(&["kill", &id, "TERM"])?;
    runtime.seen.expect("TERM to a container that has stopped", said, REFUSED, refused);
    driver.delete(&id)
}

fn kill_created(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("a process that waits for start")?;
    let id = runtime.container().probe(program::sleep()).create()?;
    let driver = runtime.driver().clone();
    let first = pidfd::open(pid_of(runtime, &id)?)?;
    driver.call(&["kill", &id, "KILL"])?;
    let patience = if runtime.has("says that it was sent") { 100 } else { 5_000 };
    let ended = pidfd::wait_exit(first.as_fd(), Duration::from_millis(patience))?;
    runtime.seen.expect_eq("the process that waited for start has ended", &ended, &true);
    driver.call(&["delete", "--force", &id])
}

/// Whether create was refused, with its reason. The streams of a container that was made all the same are no pipes of ours, which
/// would be open as long as it lives.
fn refuses_create(driver: &Driver, bundle: &Path, id: &str) -> Result<(bool, String), Trouble> {
    match driver.create(bundle, id) {
        Ok(()) => Ok((false, "it was made".to_owned())),
        Err(Trouble::Subject(said)) => Ok((true, said)),
        Err(other) => Err(other),
    }
}

fn start_without_process(runtime: &mut RuntimeFixture) -> Checked {
    let with = runtime.has(WITH_PROCESS);
    let (id, bundle) = runtime
        .container()
        .probe(look::alive())
        .with(|spec| {
            if !with {
                spec.process = None;
            }
        })
        .bundle()?;
    let driver = runtime.driver().clone();
    let (mut refused, mut said) = refuses_create(&driver, &bundle, &id)?;
    if !refused {
        (refused, said) = driver.refuses(&["start", &id])?;
    }
    runtime.seen.expect("create and start without a process", said, REFUSED, refused);
    let _ = driver.call(&["delete", "--force", &id]);
    Ok(())
}

fn config_refused(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("a container by a configuration that is wrong")?;
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 3] = [
        ("a relative working directory", |spec| spec["process"]["cwd"] = json!("tmp")),
        ("a mount without a destination", |spec| {
            if let Some(mounts) = spec["mounts"].as_array_mut() {
                mounts.push(json!({ "type": "tmpfs", "source": "tmpfs" }));
            }
        }),
        ("no JSON", |spec| *spec = json!("{")),
    ];
    let driver = runtime.driver().clone();
    for (what, change) in changes {
        let (id, bundle) = runtime.container().probe(look::alive()).bundle()?;
        let path = bundle.join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&path)?)?;
        if !runtime.has(FINE) {
            change(&mut spec);
        }
        let text = spec.as_str().map_or_else(|| spec.to_string(), str::to_owned);
        fs::write(&path, text)?;
        let (refused, said) = refuses_create(&driver, &bundle, &id)?;
        runtime.seen.expect(what, said, REFUSED, refused);
        let _ = driver.call(&["delete", "--force", &id]);
    }
    Ok(())
}

fn id_refused(runtime: &mut RuntimeFixture) -> Checked {
    let (id, bundle) = runtime.container().probe(look::alive()).bundle()?;
    let driver = runtime.driver().clone();
    for wrong in [format!("../{id}"), format!("{id}/inner"), format!("/{id}"), String::new(), "..".to_owned()]
    {
        let (refused, said) = if runtime.has(ACCEPTED) {
            (false, String::new())
        } else {
            refuses_create(&driver, &bundle, &wrong)?
        };
        runtime.seen.expect(&format!("the id '{wrong}'"), said, REFUSED, refused);
        if !refused {
            let _ = driver.output(&["delete", "--force", &wrong], Stdio::null())?;
        }
    }
    let beside = runtime.directory("")?.join(&id).join("state.json");
    runtime.seen.expect_eq("something was made beside the runtime's directory", &beside.exists(), &false);
    Ok(())
}
