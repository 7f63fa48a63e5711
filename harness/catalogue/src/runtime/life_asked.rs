//! What a runtime says of itself, and commands on containers that are paused or have hooks.

use std::fs;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use runtime::oci::{Hook, Hooks, Root};
use runtime::process::pidfd;
use serde_json::Value;

use kit::audit;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, in_fixture};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, program};

use super::life_commands::{REFUSED, pid_of};
use super::version;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "life.features",
        "what features tells has no control characters in it, such as a version that ends with a newline",
        "OCI features.md, Annotations: values are versions, commits and words; runc#5329",
        features,
    )
    .faults(&[in_fixture(NEWLINE)]),
    Check::of_runtime(
        "life.list-without-root",
        "list of a --root that does not exist is an error, and makes no directory",
        "runc-list(8); runc#5297",
        list_without_root,
    )
    .faults(&[Fault { name: "an empty list", kind: FaultKind::Pretends("list") }]),
    Check::of_runtime(
        "life.delete-paused",
        "delete --force ends a paused container within seconds, and leaves nothing",
        "runc-delete(8), --force; runc#3134",
        delete_paused,
    )
    .needs(&[Need::Freezer])
    .faults(&[Fault { name: "says that it did", kind: FaultKind::Pretends("delete") }]),
    Check::of_runtime(
        "life.hooks-before-read-only",
        "createContainer hooks can write to a root file system that is read-only for the application",
        "OCI config.md, CreateContainer Hooks: called before the pivot_root operation; Root, readonly: inside the container; crun 1.26",
        hooks_before_read_only,
    )
    .faults(&[fault::config("a hook that cannot write", |spec| {
        for hook in spec.hooks.iter_mut().flat_map(|hooks| &mut hooks.create_container) {
            if let Some(path) = hook.args.get_mut(2) {
                "/proc/version".clone_into(path);
            }
        }
    })]),
];

const NEWLINE: &str = "a newline";

/// Texts with a control character in a document, each with its place.
fn with_control(place: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.chars().any(char::is_control) => found.push(format!("{place}: {text:?}")),
        Value::Array(all) => all.iter().for_each(|one| with_control(place, one, found)),
        Value::Object(fields) => {
            for (name, one) in fields {
                with_control(&format!("{place}/{name}"), one, found);
            }
        }
        _ => {}
    }
}

fn features(runtime: &mut RuntimeFixture) -> Checked {
    let mut features = version::features(runtime)?;
    let Some(fields) = features.as_object_mut() else {
        return Err(Trouble::Skip("the subject has no command features".into()));
    };
    if runtime.has(NEWLINE) {
        fields.insert("annotations".into(), serde_json::json!({ "version": "1\n" }));
    }
    runtime.seen.expect("properties that it tells", fields.len(), "2 or more", fields.len() > 1);
    let mut found = Vec::new();
    with_control("", &features, &mut found);
    runtime.seen.expect_eq("texts with control characters", &found, &Vec::<String>::new());
    Ok(())
}

fn list_without_root(runtime: &mut RuntimeFixture) -> Checked {
    let none = runtime.directory("roots")?.join("none");
    let there = runtime.directory("roots/there")?;
    let driver = runtime.driver().clone();
    // Of a directory that is there it says nothing, which is right.
    let (status, _, said) = driver.with_root(&there)?.output(&["list"], Stdio::null())?;
    runtime.seen.expect(
        "exit status of an empty list",
        format!("{status}: {}", said.trim()),
        "0",
        status == 0,
    );
    let (refused, said) = driver.with_root(&none)?.refuses(&["list"])?;
    runtime.seen.expect("list of a --root that is not there", said, REFUSED, refused);
    runtime.seen.expect_eq("it is there afterwards", &none.exists(), &false);
    Ok(())
}

fn delete_paused(runtime: &mut RuntimeFixture) -> Checked {
    /// What rightly takes milliseconds.
    const PATIENCE: Duration = Duration::from_secs(8);
    let id = runtime.container().pids(64).probe(program::sleep()).create()?;
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    let first = pidfd::open(pid_of(runtime, &id)?)?;
    driver.pause(&id)?;
    let begun = Instant::now();
    let deleted = driver.call(&["delete", "--force", &id]);
    let took = begun.elapsed();
    if let Err(other @ (Trouble::Noise(_) | Trouble::Harness(_) | Trouble::Skip(_))) = deleted {
        return Err(other);
    }
    let said = deleted.err().map(Trouble::into_text);
    let done = said.is_none() && took < PATIENCE;
    let seen = format!("{said:?} after {} ms", took.as_millis());
    runtime.seen.expect("delete --force of a paused container", seen, "None within 8 s", done);
    let pretends = runtime.has("says that it did");
    let patience = Duration::from_millis(if !done || pretends { 50 } else { 2_000 });
    let ended = pidfd::wait_exit(first.as_fd(), patience)?;
    runtime.seen.expect_eq("its first process has ended", &ended, &true);
    let left = audit::remains(runtime.layout(), &id);
    runtime.seen.expect("left on the host", format!("{left:?}"), "[]", left.is_empty());
    if !ended {
        let _ = driver.resume(&id);
        driver.output(&["delete", "--force", &id], Stdio::null())?;
    }
    Ok(())
}

fn hooks_before_read_only(runtime: &mut RuntimeFixture) -> Checked {
    let image = runtime.image()?;
    let file = image.join("made-by-hook");
    let hook = Hook {
        path: image.join("probe"),
        args: ["probe", "write", &file.display().to_string(), "written"].map(str::to_owned).to_vec(),
        timeout: Some(10),
        ..Hook::default()
    };
    let hooks = Hooks { create_container: vec![hook], ..Hooks::default() };
    let root = Root { path: image, readonly: true };
    let started = runtime
        .container()
        .with(|spec| {
            spec.root = Some(root);
            spec.hooks = Some(hooks);
        })
        .attempt()?;
    let what = "a createContainer hook that writes to a read-only root";
    if let Some(mut container) = runtime.expect_runs(what, started) {
        let tried = container.ask(attempt::create("/new"))?;
        runtime.seen.expect_eq("error of the application's writing", &tried, &Tried(libc::EROFS));
        container.close()?;
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    runtime.seen.expect_text("what the hook has written", &text, "written");
    Ok(())
}
