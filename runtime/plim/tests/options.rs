//! Options that people type, each by what it does. Expected values: Docker reference, docker container run.

mod common;

use std::time::{Duration, Instant};

use common::Shop;
use serde_json::Value;

fn inspect(shop: &Shop, name: &str) -> Value {
    let all: Value = serde_json::from_str(&shop.plim(&["inspect", name])).unwrap();
    all[0].clone()
}

/// Waits for something that another process brings about.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_policy_starts_a_container_again_until_it_is_stopped_by_hand() {
    let Some(shop) = Shop::open("restart") else { return };
    let run = |name: &str, policy: &str, line: &str| {
        let words =
            ["run", "-d", "--network", "none", "--name", name, "--restart", policy, "box", "sh", "-c", line];
        shop.plim(&words);
    };
    run("some", "on-failure:2", "echo run; exit 3");
    assert_eq!(shop.plim(&["wait", "some"]), "3");
    until("two restarts", || {
        inspect(&shop, "some")["RestartCount"] == 2
            && !inspect(&shop, "some")["State"]["Running"].as_bool().unwrap()
    });
    assert_eq!(inspect(&shop, "some")["State"]["ExitCode"], 3);
    assert_eq!(shop.plim(&["logs", "some"]), "run\nrun\nrun");
    assert_eq!(inspect(&shop, "some")["HostConfig"]["RestartPolicy"]["MaximumRetryCount"], 2);
    run("good", "on-failure", "exit 0");
    assert_eq!(
        (shop.plim(&["wait", "good"]), inspect(&shop, "good")["RestartCount"].clone()),
        ("0".into(), 0.into())
    );
    run("ever", "always", "exit 0");
    until("a restart", || inspect(&shop, "ever")["RestartCount"].as_u64() > Some(0));
    shop.plim(&["stop", "ever"]);
    assert_eq!(shop.plim(&["ps", "-aq", "-f", "name=ever", "-f", "status=exited"]).lines().count(), 1);
    // `always` comes back when the machine does, `unless-stopped` does not.
    run("rest", "unless-stopped", "sleep 1000");
    shop.plim(&["stop", "-t", "0", "rest"]);
    assert_eq!(shop.plim(&["system", "start"]), "ever");
    shop.plim(&["update", "--restart", "no", "ever"]);
    shop.plim(&["wait", "ever"]);
    for policy in ["sometimes", "always:3", "on-failure:x"] {
        let (status, _, err) = shop.said(&["run", "--restart", policy, "box", "true"]);
        assert!(status == 125 && err.contains(policy), "{status} {err}");
    }
    let (status, _, err) = shop.said(&["run", "--rm", "--restart", "always", "box", "true"]);
    assert!(status == 125 && err.contains("--restart and --rm"), "{status} {err}");
}

#[test]
fn health_is_asked_for_and_told() {
    let Some(shop) = Shop::open("health") else { return };
    let words = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "one",
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
    ];
    shop.plim(&[&words[..], &["--health-cmd", "echo said; test -e /ok", "box", "sleep", "1000"]].concat());
    let health = || inspect(&shop, "one")["State"]["Health"].clone();
    until("unhealthy", || health()["Status"] == "unhealthy");
    let found = health();
    assert!(found["FailingStreak"].as_u64() >= Some(2), "{found}");
    assert_eq!((&found["Log"][0]["ExitCode"], &found["Log"][0]["Output"]), (&1.into(), &"said\n".into()));
    assert_eq!(shop.plim(&["ps", "-q", "--filter", "health=unhealthy"]).lines().count(), 1);
    shop.plim(&["exec", "one", "sh", "-c", "echo > /ok"]);
    until("healthy", || health()["Status"] == "healthy");
    assert!(shop.plim(&["ps", "--format", "{{.Status}}"]).ends_with("(healthy)"));
    shop.plim(&["rm", "-f", "one"]);
    let slow =
        ["--health-timeout", "100ms", "--health-cmd", "sleep 1000", "--name", "two", "box", "sleep", "1000"];
    shop.plim(&[&words[..4], &words[6..], &slow].concat());
    until("a timeout", || inspect(&shop, "two")["State"]["Health"]["Log"][0]["ExitCode"] == -1);
    assert!(!shop.plim(&["exec", "two", "busybox", "ps"]).contains("1000 "), "the probe is killed");
    let (status, _, err) = shop.said(&["run", "--health-interval", "soon", "box", "true"]);
    assert!(status == 125 && err.contains("soon"), "{err}");
}

#[test]
fn a_first_process_reaps_and_passes_signals_on() {
    let Some(shop) = Shop::open("init") else { return };
    let alone =
        |words: &[&str]| shop.said(&[&["run", "--rm", "--network", "none", "--init", "box"], words].concat());
    assert_eq!(alone(&["sh", "-c", "echo $$; exit 7"]), (7, "2".into(), String::new()));
    assert_eq!(alone(&["/no/such"]).0, 127);
    shop.plim(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "one",
        "--init",
        "box",
        "sh",
        "-c",
        "trap 'exit 9' TERM; while :; do sleep 0.1; done",
    ]);
    until("the trap", || shop.plim(&["top", "one"]).contains("sleep"));
    shop.plim(&["stop", "-t", "30", "one"]);
    assert_eq!(inspect(&shop, "one")["State"]["ExitCode"], 9);
    // An orphan of the program is nobody's child but the first process's, which reaps it.
    let (_, said, _) = alone(&["sh", "-c", "(sleep 0.1 &) ; sleep 0.3; busybox ps -o stat"]);
    assert!(!said.contains('Z'), "{said}");
}

#[test]
fn devices_groups_and_namespaces_are_given() {
    let Some(shop) = Shop::open("devices") else { return };
    let run = |words: &[&str]| shop.alone(words);
    let said =
        run(&["--device", "/dev/null:/dev/mine:r", "box", "busybox", "stat", "-c", "%t:%T", "/dev/mine"]);
    assert_eq!(said, "1:3");
    // Only what was asked for: reading, but no device of another number.
    assert_eq!(
        run(&["--device", "/dev/null:/dev/mine", "box", "sh", "-c", "echo x > /dev/mine; cat /dev/mine"]),
        ""
    );
    let denied = ["box", "sh", "-c", "busybox mknod /x c 1 1 && cat /x > /dev/null 2>&1; echo $?"];
    assert_eq!(run(&denied), "1");
    assert!(run(&["--group-add", "77", "box", "id"]).contains("77"));
    let host = std::fs::read_link("/proc/self/ns/ipc").unwrap();
    assert_eq!(
        run(&["--ipc", "host", "box", "busybox", "readlink", "/proc/self/ns/ipc"]),
        host.to_str().unwrap()
    );
    assert_ne!(run(&["box", "busybox", "readlink", "/proc/self/ns/ipc"]), host.to_str().unwrap());
    shop.plim(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "one",
        "-v",
        "mine:/data",
        "box",
        "sleep",
        "1000",
    ]);
    assert!(run(&["--pid", "container:one", "box", "busybox", "ps"]).contains("sleep 1000"));
    shop.plim(&["exec", "one", "sh", "-c", "echo shared > /data/file"]);
    assert_eq!(run(&["--volumes-from", "one", "box", "cat", "/data/file"]), "shared");
    let (status, _, err) = shop.said(&[
        "run",
        "--network",
        "none",
        "--volumes-from",
        "one:ro",
        "box",
        "sh",
        "-c",
        "echo x > /data/file",
    ]);
    assert!(status == 1 && err.contains("Read-only"), "{status} {err}");
    for (option, value) in [
        ("--device", "/dev/surely-not"),
        ("--device", "/etc/passwd"),
        ("--ipc", "container:one"),
        ("--userns", "keep-id"),
        ("--log-driver", "syslog"),
        ("--log-opt", "colour=red"),
        ("--platform", "linux/s390x"),
        ("--volumes-from", "nobody"),
        ("--group-add", "nosuchgroup"),
        ("--expose", "x"),
        ("--link", "one"),
        ("--gpus", "all"),
    ] {
        let (status, _, err) = shop.said(&["run", "--rm", "--network", "none", option, value, "box", "true"]);
        assert!(
            status == 125 && (err.contains(option) || err.contains(value)),
            "{option} {value}: {status} {err}"
        );
    }
}

#[test]
fn logs_are_kept_cut_and_chosen() {
    let Some(shop) = Shop::open("logs") else { return };
    let line = "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; sleep 1.2; echo late";
    let words = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "one",
        "--log-opt",
        "max-size=200",
        "--log-opt",
        "max-file=3",
    ];
    shop.plim(&[&words[..], &["box", "sh", "-c", line]].concat());
    let followed = shop.plim(&["logs", "-f", "one"]);
    assert!(followed.ends_with("late"), "{followed}");
    let kept = shop.plim(&["logs", "one"]);
    assert!(kept.lines().count() < 10 && kept.ends_with("line 9\nlate"), "{kept}");
    assert_eq!(shop.plim(&["logs", "--tail", "1", "one"]), "late");
    let stamped = shop.plim(&["logs", "-t", "-n", "1", "one"]);
    let (time, _) = stamped.split_once(' ').unwrap();
    assert_eq!(shop.plim(&["logs", "--since", time, "one"]), "late");
    assert!(!shop.plim(&["logs", "--until", "1s", "one"]).contains("late") || time.is_empty());
    assert_eq!(shop.plim(&["logs", "--since", "2000-01-01", "--until", "2000-01-02T00:00:00Z", "one"]), "");
    let (status, _, err) = shop.said(&["logs", "--since", "yesterday", "one"]);
    assert!(status == 1 && err.contains("yesterday"), "{err}");
    shop.plim(&["run", "--network", "none", "--name", "two", "--log-driver", "none", "box", "echo", "x"]);
    let (status, _, err) = shop.said(&["logs", "two"]);
    assert!(status == 1 && err.contains("none"), "{err}");
}

#[test]
fn limits_change_while_it_runs_and_stay_changed() {
    let Some(shop) = Shop::open("update") else { return };
    shop.plim(&["run", "-d", "--network", "none", "--name", "one", "-m", "64m", "box", "sleep", "1000"]);
    shop.plim(&["update", "-m", "32m", "--memory-swap", "-1", "--cpu-shares", "512", "one"]);
    let found = inspect(&shop, "one")["HostConfig"].clone();
    assert_eq!((&found["Memory"], &found["CpuShares"]), (&(32 << 20).into(), &512.into()));
    let (status, _, err) = shop.said(&["update", "one"]);
    assert!(status == 1 && err.contains("nothing"), "{err}");
    let (status, _, err) = shop.said(&["update", "--ulimit", "core=0", "one"]);
    assert!(status == 1 && err.contains("--ulimit"), "{err}");
}

#[test]
fn what_happens_is_told() {
    let Some(shop) = Shop::open("events") else { return };
    assert_eq!(
        shop.said(&["run", "--rm", "--network", "none", "--name", "one", "box", "sh", "-c", "exit 4"]).0,
        4
    );
    shop.plim(&["run", "--rm", "--network", "none", "--name", "two", "box", "true"]);
    let said = |words: &[&str]| shop.plim(&[&["events", "--since", "1h", "--until", "0s"], words].concat());
    assert_eq!(said(&["-f", "container=one", "--format", "{{.Action}}"]), "create\nstart\ndie\ndestroy");
    assert_eq!(said(&["-f", "event=die", "--format", "{{.Actor.Attributes.exitCode}}"]), "4\n0");
    let (status, _, err) = shop.said(&["events", "-f", "colour=red"]);
    assert!(status == 1 && err.contains("colour"), "{err}");
    assert!(shop.plim(&["info", "-f", "{{.Driver}} {{.OSType}}"]) == "overlay2 linux");
    assert!(shop.plim(&["version", "--format", "{{.Client.Os}}"]) == "linux");
    let (status, _, err) = shop.said(&["run", "-it", "--rm", "--name", "three", "box", "true"]);
    assert!(status == 1 && err.contains("not a TTY"), "{status} {err}");
    assert_eq!(shop.plim(&["ps", "-aq"]), "", "nothing was made for it");
}
