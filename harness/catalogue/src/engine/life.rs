//! Lifecycle and safety as an engine adds them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;

use super::commit::when;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{answer, before, in_fixture};
use kit::need::Need;
use kit::verbs::{files, look, tasks};

const ALWAYS_ONE: &str = "always 1";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "life.start-errors",
        "125, 126, 127 as documented: engine error, not executable, not found",
        "Docker reference, docker run, Exit status",
        start_errors,
    )
    .faults(&[in_fixture(ALWAYS_ONE)]),
    Check::of_engine(
        "life.interpreter",
        "a missing interpreter is 127, and a file that is no program and a directory are 126, by run and by exec",
        "Docker reference, docker run, Exit status; execve(2), ENOENT, ENOEXEC and EACCES",
        interpreter,
    )
    .faults(&[answer(ALWAYS_ONE, |_, _, said| {
        said.status = said.status.min(1);
        Ok(())
    })]),
    Check::of_engine(
        "life.stop-then-kill",
        "stop sends the stop signal, then SIGKILL after the grace time",
        "Docker reference, docker stop",
        stop_then_kill,
    )
    .faults(&[
        before("SIGKILL at once", |_, words| {
            when(words, "stop", || {
                let name = words.last().cloned().unwrap_or_default();
                Ok(Some(vec!["kill".into(), name]))
            })
        }),
        before("no stop signal", |_, words| {
            when(words, "stop", || {
                let seconds = words.get(2).and_then(|word| word.parse().ok()).unwrap_or(0);
                std::thread::sleep(Duration::from_secs(seconds));
                Ok(Some(vec!["kill".into(), words.last().cloned().unwrap_or_default()]))
            })
        }),
    ])
    .timing("a lower bound: the grace time of 1 s; the upper one is 10 s, beyond which nothing was sent"),
    Check::of_engine(
        "life.detached-logs",
        "a detached container's stdout and stderr are kept apart, whole and in order",
        "Docker reference, docker logs",
        detached_logs,
    )
    .faults(&[
        before("stderr lost", |_, words| {
            when(words, "run", || {
                // Everything comes by one stream, as through a terminal.
                let mut words = words.to_vec();
                words.insert(1, "-t".into());
                Ok(Some(words))
            })
        }),
        answer("cut at 4 KiB", |_, words, said| {
            if words[0] == "logs" {
                said.out.truncate(4096);
                said.err.truncate(4096);
            }
            Ok(())
        }),
    ]),
    Check::of_engine(
        "life.inspect",
        "inspect gives pid, state, mounts, layers, limits that are true on the host",
        "Docker reference, docker inspect",
        inspect,
    )
    .needs(&[Need::Controller("pids")])
    .faults(&[before("stale pid", |engine, words| {
        when(words, "inspect", || {
            // What was true before the container was started again.
            engine.command(&["restart", "-t", "0", words.last().map(String::as_str).unwrap_or_default()])?;
            Ok(None)
        })
    })]),
];

const ALONE: &[&str] = &["--network", "none"];

fn start_errors(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let run = |engine: &EngineFixture, words: &[&str]| -> Result<i32, Trouble> {
        let status = engine.output(&[&["run", "--rm"], ALONE, words].concat())?.status;
        Ok(if engine.has(ALWAYS_ONE) && status != 0 { 1 } else { status })
    };
    for (what, words, wanted) in [
        ("an unknown image", &["--pull", "never", "no-such-image"][..], 125),
        ("an unknown flag", &["--no-such-flag", BASE], 125),
        ("a mount of nothing", &["--mount", "type=bind,source=/no/such/place,target=/x", BASE], 125),
        ("a file that cannot be executed", &[BASE, "/etc/passwd"], 126),
        ("a directory", &[BASE, "/etc"], 126),
        ("a program that is not there", &[BASE, "/no/such/program"], 127),
        ("a name that is not in PATH", &[BASE, "no-such-program"], 127),
        ("a program that says 42", &[BASE, "/probe", "exit", "42"], 42),
    ] {
        let status = run(engine, words)?;
        engine.seen.expect_eq(what, &status, &wanted);
    }
    let left = engine.command(&["ps", "-aq"])?;
    engine.seen.expect_eq("containers that are left", &left.as_str(), &"");
    Ok(())
}

fn stop_then_kill(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    // The first process of a PID namespace ignores what it has no handler for, so SIGTERM does not end it.
    let stubborn = engine.up(ALONE, BASE)?;
    let start = Instant::now();
    engine.command(&["stop", "-t", "1", &stubborn])?;
    let took = start.elapsed();
    let in_time = (Duration::from_secs(1)..Duration::from_secs(10)).contains(&took);
    engine.seen.expect(
        "time until a stubborn one was killed, in ms",
        took.as_millis(),
        "1000 to 10000",
        in_time,
    );
    let status = engine.inspect(&stubborn, "/State/ExitCode")?;
    engine.seen.expect_json("its exit status", &status, &json!(137));
    for (flags, wanted) in [(&[][..], libc::SIGTERM), (&["--stop-signal", "SIGUSR1"], libc::SIGUSR1)] {
        let polite = engine.up_with(&[ALONE, flags].concat(), BASE, &["/probe", "await-signal"])?;
        engine.await_line(&polite, "waiting")?;
        engine.command(&["stop", "-t", "2", &polite])?;
        let status = engine.inspect(&polite, "/State/ExitCode")?;
        engine.seen.expect_json("the signal that one with a handler got", &status, &json!(wanted));
    }
    // Its own stop signal is one that nobody can ignore.
    let willing = engine.up(&[ALONE, &["--stop-signal", "SIGKILL"]].concat(), BASE)?;
    let start = Instant::now();
    engine.command(&["stop", "-t", "8", &willing])?;
    let took = start.elapsed();
    let quick = took < Duration::from_secs(8);
    engine.seen.expect(
        "time until one with another stop signal was gone, in ms",
        took.as_millis(),
        "below 8000",
        quick,
    );
    Ok(())
}

fn detached_logs(engine: &mut EngineFixture) -> Checked {
    // More than any buffer, pipe or page on the way.
    const LINES: usize = 20_000;
    engine.base()?;
    let name = engine.up_with(ALONE, BASE, &["/probe", "chatter", &LINES.to_string()])?;
    engine.command(&["wait", &name])?;
    let said = engine.output(&["logs", &name])?;
    let wanted = |stream: &str| (0..LINES).map(|line| format!("{stream} {line}")).collect::<Vec<_>>();
    for (stream, text) in [("out", &said.out), ("err", &said.err)] {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let holds = lines == wanted(stream);
        let first = lines.iter().zip(wanted(stream)).position(|(found, wanted)| *found != wanted);
        let observed = format!("{} lines, the first wrong one: {first:?}", lines.len());
        engine.seen.expect(&format!("standard {stream}"), observed, format!("{LINES} lines, None"), holds);
    }
    let tail = engine.output(&["logs", "--tail", "2", &name])?;
    let lines = tail.out.lines().count() + tail.err.lines().count();
    engine.seen.expect_eq("lines with --tail 2", &lines, &2);
    Ok(())
}

fn inspect(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let host = engine.directory("bound")?;
    let bound = format!("{}:/bound:ro", host.display());
    let name = engine.up(&[ALONE, &["-v", &bound, "--pids-limit", "17"]].concat(), BASE)?;
    let before = engine.exec(&name, look::namespaces())?;
    let pid = engine.pid(&name)?;
    let namespace = |pid: i64| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let seen = namespace(pid).map(|link| link.display().to_string()).unwrap_or_default();
    let inside = before.get("pid").map(u64::to_string).unwrap_or_default();
    let same = !seen.is_empty() && digits(&seen) == digits(&inside);
    engine.seen.expect("PID namespace of the process that inspect names", &seen, &inside, same);
    let program = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = String::from_utf8_lossy(&program).replace('\0', " ");
    engine.seen.expect_eq("its command line", &program.trim_end(), &"/probe sleep");
    let state = engine.inspect(&name, "/State/Status")?;
    engine.seen.expect_json("state", &state, &json!("running"));
    let mount = engine.inspect(&name, "/Mounts/0")?;
    engine.seen.expect_json("the mount's source", &mount["Source"], &json!(host.display().to_string()));
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let read_only = table.lines().any(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        fields.get(4) == Some(&"/bound")
            && fields.get(5).is_some_and(|options| options.split(',').any(|one| one == "ro"))
    });
    engine.seen.expect_eq(
        "it is there, and read-only",
        &read_only,
        &json!(mount["RW"] == json!(false)).as_bool().unwrap_or(false),
    );
    let upper = engine.inspect(&name, "/GraphDriver/Data/UpperDir")?;
    engine.exec(&name, files::write("/etc/marker", "here"))?;
    let marker = std::path::Path::new(upper.as_str().unwrap_or_default()).join("etc/marker").exists();
    engine.seen.expect_eq("what it writes is in the upper directory that inspect names", &marker, &true);
    let limit = engine.inspect(&name, "/HostConfig/PidsLimit")?;
    engine.seen.expect_json("task limit", &limit, &json!(17));
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let limited = engine.exec(&name, tasks::fork_until_refused(40))?;
    let made = limited.made;
    engine.seen.expect("forks until refused", made, "1 to 16", (1..17).contains(&made));
    engine.seen.note(format!("its groups: {}", group.trim().replace('\n', "; ")));
    engine.command(&["stop", "-t", "0", &name])?;
    let stopped = (engine.inspect(&name, "/State/Status")?, engine.inspect(&name, "/State/Pid")?);
    engine.seen.expect_json("state after stop", &stopped.0, &json!("exited"));
    engine.seen.expect_json("PID after stop", &stopped.1, &json!(0));
    Ok(())
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn interpreter(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let dir = engine.directory("programs")?;
    fs::create_dir(dir.join("directory"))?;
    for (name, text) in [("missing", "#!/none\n"), ("format", "no program\n")] {
        fs::write(dir.join(name), text)?;
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755))?;
    }
    let volume = format!("{}:/programs:ro", dir.display());
    let options = [ALONE, &["-v", &volume]].concat();
    let name = engine.up(&options, BASE)?;
    for (what, program, expected) in [
        ("a script whose interpreter is missing", "/programs/missing", 127),
        ("a file that is no program", "/programs/format", 126),
        ("a directory", "/programs/directory", 126),
        ("a probe", "/probe", 0),
    ] {
        let word: &[&str] = if expected == 0 { &["true"] } else { &[] };
        let run = engine.output(&[&["run", "--rm"], &options[..], &[BASE, program], word].concat())?.status;
        let exec = engine.output(&[&["exec", &name, program], word].concat())?.status;
        engine.seen.expect_eq(
            &format!("exit status of {what}, by run and by exec"),
            &(run, exec),
            &(expected, expected),
        );
    }
    Ok(())
}
