//! Hooks that fail, that hang, and what they are given.

use std::fs;
use std::path::{Path, PathBuf};

use runtime::oci::{Hook, Hooks};

use kit::audit;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, in_fixture};
use kit::runtime::RuntimeFixture;
use kit::verbs::program;

const HOOKS: &str = "OCI config.md, POSIX-platform Hooks; runtime.md, Lifecycle";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "life.hook-order",
        "poststart comes when the application was executed, and no earlier",
        "OCI runtime.md, Lifecycle, 8; config.md, Poststart; crun#1562, runc#5186",
        poststart_is_late,
    )
    .faults(&[fault::config("at createRuntime", |spec| {
        if let Some(hooks) = spec.hooks.as_mut() {
            hooks.create_runtime = std::mem::take(&mut hooks.poststart);
        }
    })]),
    Check::of_runtime(
        "life.hook-arguments",
        "a hook gets the arguments and the environment of its entry, and no other, and the state with the bundle's path",
        HOOKS,
        arguments,
    )
    .faults(&[
        fault::config("one argument more", |spec| {
            for hook in spec.hooks.iter_mut().flat_map(|hooks| &mut hooks.create_runtime) {
                hook.args.push("more".into());
            }
        }),
        fault::config("a variable more", |spec| {
            for hook in spec.hooks.iter_mut().flat_map(|hooks| &mut hooks.create_runtime) {
                hook.env.push("MORE=x".into());
            }
        }),
    ]),
    Check::of_runtime(
        "life.hook-fails",
        "a hook that fails before the application ends create or start with an error, and nothing is left",
        "OCI runtime.md, Lifecycle, 4 to 7: MUST generate an error, stop the container, and continue at step 12",
        fails,
    )
    .faults(&[fault::config("ignored", |spec| spec.hooks = None)]),
    Check::of_runtime(
        "life.hook-timeout",
        "a hook that outlasts its timeout is ended, and is an error",
        "OCI config.md, POSIX-platform Hooks, timeout",
        timeout,
    )
    .faults(&[fault::config("ignored", |spec| spec.hooks = None)]),
    Check::of_runtime(
        "life.poststop-fails",
        "a failing poststop hook keeps neither the next one nor delete from its work",
        "OCI runtime.md, Lifecycle, 13: the remaining hooks and lifecycle continue as if the hook had succeeded",
        poststop_fails,
    )
    .faults(&[in_fixture(SECOND_MISSING)]),
];

const SECOND_MISSING: &str = "the second hook left out";

/// The probe as a file of the host, where hooks of the runtime's namespaces find it.
fn host_program(runtime: &RuntimeFixture) -> Result<PathBuf, Trouble> {
    Ok(runtime.image()?.join("probe"))
}

fn hook(path: &Path, words: &[&str]) -> Hook {
    let args = std::iter::once("probe").chain(words.iter().copied()).map(str::to_owned).collect();
    Hook { path: path.to_owned(), args, env: Vec::new(), timeout: Some(10) }
}

/// What a hook found, as the probe's `hook-account` writes it.
fn account(path: &Path) -> Result<program::HookAccount, Trouble> {
    let text = fs::read_to_string(path)?;
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .map_err(|error| Trouble::Harness(format!("the hook's account '{text}': {error}")))
}

fn poststart_is_late(runtime: &mut RuntimeFixture) -> Checked {
    let log = runtime.directory("hooks")?.join("account");
    let told = hook(&host_program(runtime)?, &["hook-account", &log.display().to_string()]);
    let hooks = Hooks { poststart: vec![told], ..Hooks::default() };
    let id = runtime.container().probe(program::sleep()).with(|spec| spec.hooks = Some(hooks)).create()?;
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    let seen = account(&log)?;
    runtime.seen.expect_text(
        "what the container's process executes when poststart runs",
        &seen.executes,
        "/probe sleep",
    );
    driver.call(&["delete", "--force", &id])
}

fn arguments(runtime: &mut RuntimeFixture) -> Checked {
    let log = runtime.directory("hooks")?.join("account");
    let text = log.display().to_string();
    let mut told = hook(&host_program(runtime)?, &["hook-account", &text]);
    told.env = vec!["WORD=as asked for".into(), "EMPTY=".into()];
    let hooks = Hooks { create_runtime: vec![told], ..Hooks::default() };
    // A probe that takes more words than it was made for is refused, so the account may be missing: that is what is looked for.
    let started = runtime.container().with(|spec| spec.hooks = Some(hooks)).attempt()?;
    let seen = account(&log).ok();
    let args = seen.as_ref().map(|seen| seen.args.clone()).unwrap_or_default();
    runtime.seen.expect_list("arguments", &args, &["probe", "hook-account", &text]);
    let env = seen.as_ref().map(|seen| seen.env.clone()).unwrap_or_default();
    runtime.seen.expect_list("environment, sorted", &env, &["EMPTY=", "WORD=as asked for"]);
    if let kit::runtime::Started::Runs(container) = started {
        let bundle = seen.and_then(|seen| seen.bundle).unwrap_or_default();
        let own = container.rootfs.parent().map(|dir| dir.display().to_string()).unwrap_or_default();
        // An engine gives its runtime a bundle of its own.
        if runtime.driver().needs_bundles("the bundle of a container").is_ok() {
            runtime.seen.expect_text("bundle that the state on its standard input tells", &bundle, &own);
        }
        container.close()?;
    }
    Ok(())
}

fn fails(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("hooks at create, apart from those at start")?;
    let program = host_program(runtime)?;
    let driver = runtime.driver().clone();
    for point in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let inside = point == "startContainer";
        let failing = hook(if inside { Path::new("/probe") } else { &program }, &["exit", "3"]);
        let mut hooks = Hooks::default();
        match point {
            "prestart" => hooks.prestart.push(failing),
            "createRuntime" => hooks.create_runtime.push(failing),
            "createContainer" => hooks.create_container.push(failing),
            _ => hooks.start_container.push(failing),
        }
        let (id, bundle) =
            runtime.container().probe(program::sleep()).with(|spec| spec.hooks = Some(hooks)).bundle()?;
        let (mut refused, mut said) = (false, String::new());
        match driver.create(&bundle, &id) {
            Ok(()) if inside => (refused, said) = driver.refuses(&["start", &id])?,
            Ok(()) => {}
            Err(Trouble::Subject(text)) => (refused, said) = (!inside, text),
            // What cannot be asked for was not refused.
            Err(other) => return Err(other),
        }
        runtime.seen.expect(
            &format!("{point} that ends with 3"),
            said,
            "an error of create, or of start for startContainer",
            refused,
        );
        if inside && refused {
            driver.wait_stopped(&id)?;
        }
        let _ = driver.call(&["delete", "--force", &id]);
        let left = audit::remains(runtime.layout(), &id);
        runtime.seen.expect(
            &format!("left on the host after {point}"),
            format!("{left:?}"),
            "[]",
            left.is_empty(),
        );
    }
    Ok(())
}

fn timeout(runtime: &mut RuntimeFixture) -> Checked {
    let mut hangs = hook(&host_program(runtime)?, &["sleep"]);
    hangs.timeout = Some(1);
    let hooks = Hooks { create_runtime: vec![hangs], ..Hooks::default() };
    let begun = std::time::Instant::now();
    let started = runtime.container().with(|spec| spec.hooks = Some(hooks)).attempt()?;
    runtime.expect_refused("a hook that hangs, with a timeout of 1 s", started)?;
    let took = begun.elapsed().as_millis();
    runtime.seen.expect("how long that took, in ms", took, "1000 to 8000", (1_000..=8_000).contains(&took));
    Ok(())
}

fn poststop_fails(runtime: &mut RuntimeFixture) -> Checked {
    let log = runtime.directory("hooks")?.join("log");
    let program = host_program(runtime)?;
    let mut poststop = vec![hook(&program, &["exit", "3"])];
    if !runtime.has(SECOND_MISSING) {
        poststop.push(hook(&program, &["hook-account", &log.display().to_string()]));
    }
    let hooks = Hooks { poststop, ..Hooks::default() };
    let id = runtime.container().probe(program::sleep()).with(|spec| spec.hooks = Some(hooks)).create()?;
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    driver.call(&["kill", &id, "KILL"])?;
    driver.wait_stopped(&id)?;
    // Whether delete itself tells of it is the runtime's matter.
    let _ = driver.delete(&id);
    runtime.seen.expect_eq("the second hook ran", &log.exists(), &true);
    runtime.seen.expect_eq("the subject still knows the container", &driver.state(&id)?.is_some(), &false);
    let left = audit::remains(runtime.layout(), &id);
    runtime.seen.expect("left on the host", format!("{left:?}"), "[]", left.is_empty());
    Ok(())
}
