//! On which terms a further process of a container runs: those of the container, and those that exec was given.

use std::time::{Duration, Instant};

use runtime::oci::{Rlimit, User};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, in_fixture};
use kit::need::Need;
use kit::runtime::{Container, RuntimeFixture};
use kit::verbs::{cpu, look, state};

const SOURCE: &str = "runc-exec(8): the OCI specification has no exec";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "ns.exec.is-container",
        "an exec'd process has the container's user, limits, mask, variables, working directory, OOM score and CPUs",
        SOURCE,
        is_container,
    )
    .faults(&[
        Fault { name: "the caller's", kind: FaultKind::ExecKeepsPrivilege },
        Fault {
            name: "another directory",
            kind: FaultKind::ExecOptions(|_, options| {
                options.extend(["--cwd".to_owned(), "/".to_owned()]);
                Ok(())
            }),
        },
        fault::config("no limits", |spec| {
            if let Some(process) = spec.process.as_mut() {
                process.rlimits.clear();
            }
        }),
    ]),
    Check::of_runtime(
        "ns.exec.env-once",
        "a variable given to exec replaces the container's and is there once",
        "runc-exec(8), --env; environ(7)",
        env_once,
    )
    .faults(&[
        Fault {
            name: "the container's instead",
            kind: FaultKind::ExecOptions(|_, options| {
                options.clear();
                Ok(())
            }),
        },
        Fault { name: "the caller's", kind: FaultKind::ExecKeepsPrivilege },
    ]),
    Check::of_runtime(
        "ns.exec.missing-cwd",
        "a working directory of exec that is not there is an error, and nothing is created",
        "chdir(2), ENOENT; runc-exec(8), --cwd",
        missing_cwd,
    )
    .faults(&[
        Fault { name: "it worked all the same", kind: FaultKind::Pretends("exec") },
        in_fixture(CREATED),
    ]),
    Check::of_runtime(
        "ns.exec.sub-group",
        "exec into a group below the container's ends there, and one outside of it is refused",
        "runc-exec(8), --cgroup",
        sub_group,
    )
    .needs(&[Need::Controller("pids")])
    .faults(&[Fault {
        name: "option dropped",
        kind: FaultKind::ExecOptions(|_, options| {
            options.retain(|option| !option.contains("cgroup") && !option.contains("inner"));
            Ok(())
        }),
    }]),
    Check::of_runtime(
        "ns.exec.no-leaked-fds",
        "an exec'd process has the descriptors 0, 1 and 2 and no other",
        "execve(2); CVE-2024-21626; runc-exec(8), --preserve-fds",
        no_leaked_fds,
    )
    .faults(&[Fault {
        name: "a descriptor without close-on-exec",
        kind: FaultKind::LeaksDescriptor("/dev/null"),
    }]),
    Check::of_runtime(
        "life.paused",
        "exec into a paused container is refused at once, and works again after resume",
        "runc-exec(8), --ignore-paused; runc#3132",
        paused,
    )
    .needs(&[Need::Freezer])
    .faults(&[Fault { name: "not paused", kind: FaultKind::PauseDropped }]),
];

const CREATED: &str = "created";

fn is_container(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        let Some(process) = spec.process.as_mut() else { return };
        process.cwd = "/tmp".into();
        process.env.push("PLIMSOLL_WORD=asked for".into());
        process.user.umask = Some(0o027);
        process.rlimits = vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 512, hard: 1_024 }];
        process.oom_score_adj = Some(321);
    });
    let mut container = wanted.start()?;
    let mut exec = container.exec()?;
    let seen = exec.ask(state::process(&[]))?;
    runtime.seen.expect_text("working directory", &seen.cwd.to_string_lossy(), "/tmp");
    runtime.seen.expect_eq("umask", &seen.umask, &0o027);
    runtime.seen.expect_eq("soft and hard RLIMIT_NOFILE", &seen.nofile, &(512, 1_024));
    runtime.seen.expect_eq("oom_score_adj", &seen.oom_score_adj, &321);
    let word = seen.env.get("PLIMSOLL_WORD").map(String::as_str);
    runtime.seen.expect_eq("a variable of the container", &word, &Some("asked for"));
    let (own, first) = (exec.ask(cpu::affinity())?.allowed, container.ask(cpu::affinity())?.allowed);
    runtime.seen.expect_eq("CPUs that it may use, and those of the first process", &own, &first);
    drop(exec);
    container.close()?;
    user_and_environment(runtime)
}

/// Of a container whose user is not root.
fn user_and_environment(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        let Some(process) = spec.process.as_mut() else { return };
        process.env.push("PLIMSOLL_WORD=asked for".into());
        process.user = User { uid: 1_000, gid: 1_001, additional_gids: vec![1_002], ..User::default() };
    });
    let container = wanted.start()?;
    let mut exec = container.exec()?;
    let seen = exec.ask(state::process(&[]))?;
    runtime.seen.expect_eq("user and group, with none given to exec", &(seen.uid, seen.gid), &(1_000, 1_001));
    drop(exec);
    let mut exec = container.exec_with(&["--env", "PLIMSOLL_MORE=of exec"])?;
    let seen = exec.ask(state::process(&[]))?.env;
    let words = ["PLIMSOLL_WORD", "PLIMSOLL_MORE"].map(|name| seen.get(name).map(String::as_str));
    let what = "the container's environment and exec's own, with --env";
    runtime.seen.expect_eq(what, &words, &[Some("asked for"), Some("of exec")]);
    drop(exec);
    container.close()?;
    Ok(())
}

fn env_once(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime
        .container()
        .with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.env.push("PLIMSOLL_WORD=of the container".into());
            }
        })
        .start()?;
    let first = container.ask(state::env("PLIMSOLL_WORD"))?;
    runtime.seen.expect_eq("in the container", &first.as_deref(), &Some("of the container"));
    let exec = container.exec_with(&["--env", "PLIMSOLL_WORD=of exec"])?;
    let block = std::fs::read(format!("/proc/{}/environ", exec.pid))?;
    let values: Vec<String> = block
        .split(|byte| *byte == 0)
        .filter_map(|word| word.strip_prefix(b"PLIMSOLL_WORD="))
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect();
    runtime.seen.expect_list("its values in the exec'd process", &values, &["of exec"]);
    drop(exec);
    container.close()?;
    Ok(())
}

fn missing_cwd(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    let driver = runtime.driver().clone();
    let root = container.rootfs.clone();
    // A directory that is there is fine.
    driver.call(&["exec", "--cwd", "/tmp", &container.id, "/probe", "true"])?;
    let (refused, said) =
        driver.refuses(&["exec", "--cwd", "/missing/directory", &container.id, "/probe", "true"])?;
    runtime.seen.expect("exec in /missing/directory", said, "refused with an error and its reason", refused);
    if runtime.has(CREATED) {
        std::fs::create_dir_all(root.join("missing/directory"))?;
    }
    runtime.seen.expect_eq("/missing is there afterwards", &root.join("missing").exists(), &false);
    container.close()?;
    Ok(())
}

/// The group of a process for a controller, as the kernel tells it.
fn group_of(pid: i32, controller: &str) -> Result<String, Trouble> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let owned = fields.next()?.split(',').any(|name| name == controller);
        owned.then(|| fields.next().map(str::to_owned))?
    });
    let unified = || text.lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned));
    found
        .or_else(unified)
        .ok_or_else(|| Trouble::Harness(format!("/proc/{pid}/cgroup names no {controller}")))
}

/// Whether exec knows an option, as its own help says.
fn knows(runtime: &RuntimeFixture, option: &str) -> Result<bool, Trouble> {
    let (_, out, err) = runtime.driver().output(&["exec", "--help"], std::process::Stdio::null())?;
    Ok(out.contains(option) || err.contains(option))
}

fn sub_group(runtime: &mut RuntimeFixture) -> Checked {
    if !knows(runtime, "--cgroup")? {
        return Err(Trouble::Skip("the subject's exec has no option --cgroup".into()));
    }
    let container = runtime.container().pids(64).start()?;
    let own = group_of(container.pid, "pids")?;
    // Only where the container is: a group on a hierarchy that the subject left out would be nobody's.
    let group = container.group()?;
    let name = container.group_name()?;
    let dirs: Vec<_> = group.parts().iter().map(|part| &part.dir).filter(|dir| name.owns(dir)).collect();
    for dir in &dirs {
        make_inner(dir)?;
    }
    let ended = in_inner(runtime, &container, &own);
    for dir in &dirs {
        std::fs::remove_dir(dir.join("inner"))?;
    }
    container.close()?;
    ended
}

/// A group below one, with its CPUs and memory nodes, without which v1 lets no process in.
fn make_inner(dir: &std::path::Path) -> Checked {
    let inner = dir.join("inner");
    std::fs::create_dir(&inner)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(text) = std::fs::read_to_string(dir.join(file))
            && !text.trim().is_empty()
        {
            std::fs::write(inner.join(file), text)?;
        }
    }
    Ok(())
}

fn in_inner(runtime: &mut RuntimeFixture, container: &Container, own: &str) -> Checked {
    let exec = container.exec_with(&["--cgroup", "inner"])?;
    let seen = group_of(exec.pid, "pids")?;
    runtime.seen.expect_text("group of a process that was to be in inner", &seen, &format!("{own}/inner"));
    drop(exec);
    let words = ["exec", "--cgroup", "../../", &container.id, "/probe", "true"];
    let (refused, said) = runtime.driver().clone().refuses(&words)?;
    runtime.seen.expect("exec into ../../", said, "refused with an error and its reason", refused);
    Ok(())
}

fn no_leaked_fds(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    let mut exec = container.exec()?;
    let seen = exec.ask(state::descriptors())?;
    runtime.seen.expect_eq("open descriptors of the exec'd process", &seen, &vec![0, 1, 2]);
    drop(exec);
    container.close()?;
    Ok(())
}

fn paused(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime
        .container()
        .with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.user = User::default();
            }
        })
        .start()?;
    let driver = runtime.driver().clone();
    let words = ["exec", &container.id, "/probe", "true"];
    driver.call(&words)?;
    container.pause()?;
    let begun = Instant::now();
    let (refused, said) = driver.refuses(&words)?;
    let took = begun.elapsed();
    container.resume()?;
    runtime.seen.expect("exec while it is paused", said, "refused with an error and its reason", refused);
    runtime.seen.expect(
        "how long that took, in ms",
        took.as_millis(),
        "5000 or less",
        took < Duration::from_secs(5),
    );
    driver.call(&words)?;
    runtime.seen.expect_eq(
        "the application answers after resume",
        &container.ask(look::alive()).is_ok(),
        &true,
    );
    container.close()?;
    Ok(())
}
