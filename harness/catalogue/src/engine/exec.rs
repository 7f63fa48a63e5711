//! Further processes of a container, and changes of its limits, by an engine's own words.

use std::collections::BTreeMap;

use super::commit::when;
use kit::channel;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{Fault, before};
use kit::need::Need;
use kit::verbs::attempt::{self, Tried};
use kit::verbs::{look, state, tasks};

const ALONE: &[&str] = &["--network", "none"];

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "ns.exec.by-engine",
        "exec is in all namespaces, groups, limits and read-only paths of the container, and -u, -w and -e hold",
        "Docker reference, docker exec",
        exec,
    )
    .needs(&[Need::Controller("pids")])
    .faults(&[
        without("option dropped: -u"),
        without("option dropped: -w"),
        without("option dropped: -e"),
        before("in a container of its own", |_, words| {
            let at = words.iter().position(|word| word == "/probe");
            let Some(at) = at.filter(|_| words[0] == "exec") else { return Ok(None) };
            let run = ["run", "--rm", "--network", "none", BASE].map(str::to_owned);
            Ok(Some([&run[..], &words[at..]].concat()))
        }),
    ]),
    Check::of_engine(
        "life.update-by-engine",
        "update changes one limit of a running container, and leaves every other as it was",
        "Docker reference, docker container update",
        update,
    )
    .needs(&[Need::Controller("pids"), Need::Controller("memory")])
    .faults(&[
        before("the others reset", |_, words| {
            when(words, "update", || {
                let mut words = words.to_vec();
                words.insert(1, "--pids-limit=-1".into());
                Ok(Some(words))
            })
        }),
        before("nothing changed", |_, words| when(words, "update", || Ok(Some(Vec::new())))),
    ]),
];

/// Drops an option of `exec` with its value. A fault can hold no option, so it is found by its name.
const fn without(name: &'static str) -> Fault {
    before(name, |engine, words| {
        when(words, "exec", || {
            let option = ["-u", "-w", "-e"]
                .into_iter()
                .find(|option| engine.has(&format!("option dropped: {option}")))
                .ok_or_else(|| Trouble::Harness("a fault without an option".into()))?;
            let mut words = words.to_vec();
            if let Some(at) = words.iter().position(|word| word == option) {
                words.drain(at..at + 2);
            }
            Ok(Some(words))
        })
    })
}

/// Numbers of a process's namespaces, as the host sees them.
fn namespaces(pid: i64) -> BTreeMap<String, u64> {
    let numbers = ["cgroup", "ipc", "mnt", "net", "pid", "uts"].into_iter().filter_map(|kind| {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
        let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        Some((kind.to_owned(), digits.parse().ok()?))
    });
    numbers.collect()
}

fn exec(engine: &mut EngineFixture) -> Checked {
    const MOST: usize = 40;
    engine.base()?;
    let name = engine.up(&[ALONE, &["--pids-limit=16"]].concat(), BASE)?;
    let first = namespaces(engine.pid(&name)?);
    engine.seen.expect("namespaces of the first process", first.len(), "5 or more", first.len() >= 5);
    let own = engine.exec(&name, look::namespaces())?;
    for (kind, number) in &first {
        engine.seen.expect_eq(&format!("{kind} namespace of exec"), &own.get(kind), &Some(number));
    }
    let group = engine.exec(&name, look::read("/proc/self/cgroup"))?;
    let of_first = engine.exec(&name, look::read("/proc/1/cgroup"))?;
    engine.seen.expect_eq("control groups of exec", &group, &of_first);
    // Two are there: the container's process, and the one that makes the others.
    let forks = engine.exec(&name, tasks::fork_until_refused(MOST))?;
    engine.seen.expect_eq(
        "processes that exec makes with --pids-limit=16, and the errno",
        &(forks.made, forks.errno),
        &(14, libc::EAGAIN),
    );
    let written = engine.exec(&name, attempt::write("/proc/sys/kernel/domainname", "x"))?;
    engine.seen.expect_eq("errno of writing to a read-only path", &written, &Tried(libc::EROFS));
    let words = ["exec", "-u", "sailor", "-w", "/etc", "-e", "ADDED=yes", &name, "/probe", "process"];
    let process = channel::printed(state::process(&[]), &engine.command(&words)?)?;
    engine.seen.expect_eq("user by -u", &(process.uid, process.gid), &(1000, 1000));
    engine.seen.expect_text("working directory by -w", &process.cwd.to_string_lossy(), "/etc");
    let added = process.env.get("ADDED").map(String::as_str);
    engine.seen.expect_eq("variable by -e", &added, &Some("yes"));
    Ok(())
}

fn update(engine: &mut EngineFixture) -> Checked {
    const MOST: usize = 40;
    engine.base()?;
    let limits = ["--pids-limit=16", "--memory=64m", "--memory-swap=64m"];
    let name = engine.up(&[ALONE, &limits].concat(), BASE)?;
    let touch = |engine: &EngineFixture| {
        let words = ["exec", &name, "/probe", "touch", "83886080"];
        engine.output(&words).map(|said| said.status)
    };
    let before = touch(engine)?;
    engine.seen.expect("exit status of 80 MiB within 64m", before, "not 0", before != 0);
    engine.command(&["update", "--memory=160m", "--memory-swap=160m", &name])?;
    let after = touch(engine)?;
    engine.seen.expect_eq("exit status of 80 MiB after an update to 160m", &after, &0);
    let forks = engine.exec(&name, tasks::fork_until_refused(MOST))?;
    engine.seen.expect_eq(
        "processes with the limit of before, and the errno",
        &(forks.made, forks.errno),
        &(14, libc::EAGAIN),
    );
    Ok(())
}
