//! What a container must not have from the caller of its runtime, nor its caller from it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Stdio;

use nix::unistd::{Pid, getpgid, getsid};
use runtime::oci::User;

use kit::channel;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, in_fixture};
use kit::runtime::{Caller, RuntimeFixture};
use kit::verbs::{attempt, look, state};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "process.oom-score-zero",
        "an oomScoreAdj of 0 is 0, also where the runtime's caller has another, which a process without one keeps",
        "OCI config.md, Linux Process, oomScoreAdj: if it is set, the runtime MUST set it to the value; crun 1.9",
        oom_score_zero,
    )
    .faults(&[fault::config("passed over", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.oom_score_adj = None;
        }
    })]),
    Check::of_runtime(
        "life.closed-streams",
        "a runtime whose caller has closed a standard stream starts the container, which gets no file of the runtime's in its place",
        "execve(2), NOTES: descriptors 0, 1 and 2 may be closed; crun 1.21",
        closed_streams,
    )
    .faults(&[
        fault::config("it cannot start", |spec| {
            if let Some(process) = spec.process.as_mut() {
                process.args = vec!["/none".into()];
            }
        }),
        in_fixture(RUNTIMES_OWN),
    ]),
    Check::of_runtime(
        "life.streams-keep-owner",
        "the host's null device keeps its owner when it is a standard stream of another user's application",
        "chown(2); runc, fixStdioPermissions; crun#1847",
        streams_keep_owner,
    )
    .faults(&[in_fixture(CHOWNED)]),
    Check::of_runtime(
        "ns.exec.session",
        "an exec'd process without a terminal has a session and a process group of its own, and none of the caller's signals",
        "setsid(2); credentials(7), Process group ID and session ID; runc, nsexec.c; crun#1643",
        session,
    )
    .faults(&[Fault { name: "the caller's", kind: FaultKind::ExecKeepsPrivilege }]),
];

const CHOWNED: &str = "given to the user";
const RUNTIMES_OWN: &str = "a file of the runtime's";

fn oom_score_zero(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("a caller with an oom_score_adj")?;
    runtime.called_by(Caller { oom_score_adj: Some("456"), ..Caller::default() });
    let mut plain = runtime.container().start()?;
    let seen = plain.ask(state::process(&[]))?.oom_score_adj;
    plain.close()?;
    // Not every runtime hands the caller's on; then a value of 0 would prove nothing.
    if seen != 456 {
        runtime.seen.note(format!("without an oomScoreAdj the application has {seen}"));
    }
    let wanted = runtime.container().with(|spec| {
        if let Some(process) = spec.process.as_mut() {
            process.oom_score_adj = Some(0);
        }
    });
    let mut container = wanted.start()?;
    let seen = container.ask(state::process(&[]))?.oom_score_adj;
    runtime.seen.expect_eq("oom_score_adj where the caller has 456, and 0 is asked for", &seen, &0);
    container.close()?;
    Ok(())
}

fn closed_streams(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("a caller with closed streams")?;
    for closed in [0, 2] {
        runtime.called_by(Caller { closed: Some(closed), ..Caller::default() });
        let own = format!("/proc/self/fd/{closed}");
        let (id, bundle) = runtime.container().probe(state::stat(&own)).bundle()?;
        let words = ["run", "--bundle", &bundle.display().to_string(), &id];
        let driver = runtime.driver().clone();
        let (status, out, said) = driver.output(&words, Stdio::null())?;
        let what = format!("exit status of run where descriptor {closed} is closed");
        runtime.seen.expect(&what, format!("{status}: {}", said.trim()), "0", status == 0);
        if status != 0 {
            let _ = driver.output(&["delete", "--force", &id], Stdio::null())?;
            continue;
        }
        // Where it leads: nowhere, to the null device, which a runtime may open in its place, or to a pipe of a runtime that copies.
        let mut target = channel::printed(state::stat(&own), out.trim())?.target;
        if runtime.has(RUNTIMES_OWN) {
            target = Some("/run/runtime/state.json".into());
        }
        let harmless = target
            .as_ref()
            .is_none_or(|target| target.ends_with("null") || target.to_string_lossy().starts_with("pipe:"));
        let what = format!("what the application has as descriptor {closed}");
        runtime.seen.expect(&what, format!("{target:?}"), "none, the null device or a pipe", harmless);
    }
    Ok(())
}

fn streams_keep_owner(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let dir = runtime.file_system()?;
    let null = dir.join("null").display().to_string();
    let made = runtime.ask_host(attempt::mknod(&null, attempt::Device::Char, 1, 3))?;
    if !made.is_allowed() {
        return Err(Trouble::Harness(format!("making {null} on the fake host: error {made}")));
    }
    // A node of the fake host's: the real one is left alone, whatever the subject does.
    let node = format!("/proc/{}/root{null}", runtime.host_pid());
    for (what, own_users) in [("user 1000", false), ("user 1000 of a user namespace", true)] {
        let mut wanted = runtime.container().probe(look::alive());
        if own_users {
            wanted = wanted.in_user_namespace(100_000);
        }
        let wanted = wanted.with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.user = User { uid: 1_000, gid: 1_000, ..User::default() };
            }
        });
        let (id, bundle) = wanted.bundle()?;
        let stream = OpenOptions::new().read(true).write(true).open(&node)?;
        let words = ["run", "--bundle", &bundle.display().to_string(), &id];
        let (status, _, said) = runtime.driver().clone().output(&words, Stdio::from(stream))?;
        let ended = format!("{status}: {}", said.trim());
        runtime.seen.expect(&format!("exit status of run as {what}"), ended, "0", status == 0);
        expect_roots(runtime, &node, what)?;
    }
    // exec has streams of its own.
    let container = runtime.container().start()?;
    let stream = OpenOptions::new().read(true).write(true).open(&node)?;
    let words = ["exec", "--user", "1000:1000", &container.id, "/probe", "true"];
    let (status, _, said) = runtime.driver().clone().output(&words, Stdio::from(stream))?;
    let ended = format!("{status}: {}", said.trim());
    runtime.seen.expect("exit status of exec as user 1000", ended, "0", status == 0);
    expect_roots(runtime, &node, "exec of user 1000")?;
    container.close()?;
    Ok(())
}

/// The device is root's still, and again for the next one.
fn expect_roots(runtime: &mut RuntimeFixture, node: &str, after: &str) -> Checked {
    if runtime.has(CHOWNED) {
        chown(node, Some(1_000), None)?;
    }
    let of = fs::metadata(node)?;
    let what = format!("owner of the null device after it was a stream of {after}");
    runtime.seen.expect_eq(&what, &(of.uid(), of.gid()), &(0, 0));
    Ok(chown(node, Some(0), Some(0))?)
}

fn session(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    let exec = container.exec()?;
    let pid = Pid::from_raw(exec.pid);
    let own = std::process::id().cast_signed();
    for (what, theirs, ours) in [
        ("session", getsid(Some(pid))?, getsid(Some(Pid::from_raw(own)))?),
        ("process group", getpgid(Some(pid))?, getpgid(Some(Pid::from_raw(own)))?),
    ] {
        let expected = format!("{pid}, its own, and not {ours} of the caller");
        runtime.seen.expect(&format!("{what} of the exec'd process"), theirs, expected, theirs == pid);
    }
    drop(exec);
    container.close()?;
    Ok(())
}
