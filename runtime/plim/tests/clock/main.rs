//! Times of the day that jump: what is stored may be from tomorrow, and while a command works the clock may be set. Nothing is lost,
//! nothing waits for longer than was asked, and no time is negative.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[path = "../common/mod.rs"]
mod common;
mod traced;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use common::Shop;
use serde_json::Value;
use traced::{Ended, Traced};

const HOUR: i64 = 3600;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;

/// How long a command may take that has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(60);

fn idle(shop: &Shop, name: &str, script: &str) {
    shop.plim(&["run", "-d", "--network", "none", "--name", name, "box", "sh", "-c", script]);
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn in_seconds(seconds: u64) -> String {
    humantime::format_rfc3339_nanos(SystemTime::now() + Duration::from_secs(seconds)).to_string()
}

/// What a command said that ended well.
fn well(what: &str, ended: Ended) -> String {
    let (status, out, err) = ended.unwrap_or_else(|| panic!("{what}: it does not end"));
    assert_eq!(status, 0, "{what}: {out} {err}");
    out
}

#[test]
fn the_clock_of_a_traced_command_jumps_and_the_hosts_does_not() {
    let seconds = |jump: i64| -> i64 {
        let mut command = Command::new(common::BUSYBOX);
        command.args(["date", "+%s"]);
        let mut traced = Traced::start(command, move |_| jump);
        well("date", traced.end_within(PATIENCE)).trim().parse().unwrap()
    };
    if Shop::open("clocks").is_none() {
        return;
    }
    let host = || i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    assert!((host() - seconds(0)).abs() < 60);
    assert!((host() + TEN_YEARS - seconds(TEN_YEARS)).abs() < 60);
    assert!((host() - TEN_YEARS - seconds(-TEN_YEARS)).abs() < 60);
}

#[test]
fn a_wait_until_a_moment_ends_in_its_time_though_the_clock_is_set_back() {
    let Some(shop) = Shop::open("clocks") else { return };
    idle(&shop, "talker", "echo said; sleep 1000");
    for words in [&["logs", "--follow", "--until"][..], &["events", "--until"]] {
        let moment = in_seconds(1);
        let mut words = words.to_vec();
        words.push(&moment);
        if words[0] == "logs" {
            words.push("talker");
        }
        let begun = Instant::now();
        // The moment is an hour away for whoever looks at the clock a second time.
        let mut traced = Traced::start(shop.command(&words), |look| if look == 0 { 0 } else { -HOUR });
        well(words[0], traced.end_within(PATIENCE));
        assert!(begun.elapsed() >= Duration::from_millis(500), "{} did not wait", words[0]);
    }
}

/// A line of a log or of events as it would be if the clock had been ahead.
fn ten_years_later(line: &str) -> String {
    let ahead = Duration::from_secs(TEN_YEARS.cast_unsigned());
    let mut line: Value = serde_json::from_str(line).unwrap();
    if let Some(time) = line["time"].as_str() {
        let time = humantime::parse_rfc3339(time).unwrap() + ahead;
        line["time"] = humantime::format_rfc3339_nanos(time).to_string().into();
    } else {
        line["time"] = (line["time"].as_u64().unwrap() + ahead.as_secs()).into();
        line["timeNano"] = (line["timeNano"].as_u64().unwrap() + ahead.as_secs() * 1_000_000_000).into();
    }
    line.to_string()
}

#[test]
fn who_looks_on_sees_what_is_new_and_nothing_else_whatever_the_clock_says() {
    let Some(shop) = Shop::open("clocks") else { return };
    let script = "echo old; while sleep 0.1; do [ ! -e /go ] || { rm /go; echo new; }; done";
    idle(&shop, "talker", script);
    until("it said something", || shop.plim(&["logs", "talker"]) == "old");
    // The clock was ahead when that was written, and was set back afterwards.
    for file in [format!("data/containers/{}/log", shop.id("talker")), "data/events".to_owned()] {
        let path = shop.path(&file);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<String> = text.lines().map(ten_years_later).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    // And once it is ahead while the commands begin.
    for jump in [0, HOUR] {
        let attached = Traced::start(shop.command(&["attach", "--no-stdin", "talker"]), move |_| jump);
        let format = "{{.Action}} {{.Actor.Attributes.name}}";
        let told = Traced::start(shop.command(&["events", "--format", format]), move |_| jump);
        until("they wait", || attached.waits() && told.waits());
        idle(&shop, "other", "true");
        shop.plim(&["wait", "other"]);
        shop.plim(&["rm", "other"]);
        shop.plim(&["exec", "talker", "sh", "-c", ": > /go"]);
        until("the output is seen", || attached.said() == "new\n");
        until("the events are told", || told.said().contains("destroy other"));
        assert!(told.said().starts_with("create other\nstart other\n"), "{}", told.said());
        assert!(!told.said().contains("talker"), "{}", told.said());
    }
}

#[test]
fn containers_of_any_time_are_listed_and_end_as_others_do() {
    let Some(shop) = Shop::open("clocks") else { return };
    let times =
        ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "yesterday", ""];
    for (number, time) in times.iter().enumerate() {
        let (runs, ended) = (format!("runs{number}"), format!("ended{number}"));
        idle(&shop, &runs, "sleep 1000");
        idle(&shop, &ended, "exit 3");
        assert_eq!(shop.plim(&["wait", &ended]), "3");
        for name in [&runs, &ended] {
            let dir = shop.path("data/containers").join(shop.id(name));
            for (file, fields) in
                [("record.json", &["created"][..]), ("state.json", &["started", "finished"])]
            {
                let path = dir.join(file);
                let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                for field in fields {
                    if !value[field].is_null() {
                        value[field] = (*time).into();
                    }
                }
                fs::write(&path, value.to_string()).unwrap();
            }
        }
        let listed = shop.plim(&["ps", "-a", "--format", "{{.Names}} {{.Status}}, {{.RunningFor}}"]);
        assert!(
            listed.contains(&format!("{runs} Up")) && listed.contains(&format!("{ended} Exited (3)")),
            "{listed}"
        );
        assert!(!listed.contains('-'), "a time is negative: {listed}");
        for name in [&runs, &ended] {
            shop.plim(&["inspect", name]);
            shop.plim(&["logs", "--since", "10m", name]);
        }
        shop.plim(&["stop", "-t", "0", &runs]);
        shop.plim(&["start", &runs]);
        shop.plim(&["rm", "-f", &runs]);
        shop.plim(&["container", "prune", "-f"]);
        assert_eq!(shop.plim(&["ps", "-aq"]), "", "{time}");
        assert_eq!(shop.plim(&["system", "check"]), "nothing is wrong", "{time}");
    }
}

#[test]
fn a_life_under_a_clock_that_jumps_at_every_look_is_a_life_as_others() {
    let Some(shop) = Shop::open("clocks") else { return };
    // Ten years ahead, ten years back, as it is.
    let run = |words: &[&str]| {
        let mut traced =
            Traced::start(shop.command(words), |look| (look % 3).cast_signed() * TEN_YEARS - TEN_YEARS);
        let ended = traced.end_within(PATIENCE);
        (traced, ended)
    };
    let done = |words: &[&str]| well(&words.join(" "), run(words).1);
    let context = shop.path("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("Dockerfile"), "FROM box\nRUN echo built > /built\nCOPY Dockerfile /\n").unwrap();
    done(&["build", "--network", "none", "-t", "made", context.to_str().unwrap()]);
    assert_eq!(shop.alone(&["made", "cat", "/built"]), "built");
    let health = ["--health-cmd", "true", "--health-interval", "100ms"];
    let script = "echo begun; [ -e /second ] && sleep 1000; : > /second; exit 1";
    let mut words = vec!["run", "-d", "--network", "none", "--name", "rr", "--restart", "on-failure:2"];
    words.extend(health);
    words.extend(["made", "sh", "-c", script]);
    // The watcher goes on under the same clock.
    let (watcher, ended) = run(&words);
    well("run", ended);
    let state = |format: &str| shop.plim(&["inspect", "--format", format, "rr"]);
    until("it was started again, and is well", || {
        state("{{.RestartCount}} {{.State.Status}} {{.State.Health.Status}}") == "1 running healthy"
    });
    assert_eq!(shop.plim(&["logs", "rr"]), "begun\nbegun", "nothing is lost");
    assert_eq!(done(&["exec", "rr", "echo", "said"]), "said\n");
    done(&["commit", "rr", "saved"]);
    done(&["save", "-o", shop.path("saved.tar").to_str().unwrap(), "saved"]);
    done(&["rmi", "saved"]);
    done(&["load", "-i", shop.path("saved.tar").to_str().unwrap()]);
    done(&["stop", "-t", "1", "rr"]);
    drop(watcher);
    assert_eq!(shop.plim(&["wait", "rr"]), "137");
    done(&["rm", "rr"]);
    done(&["system", "prune", "-f"]);
    done(&["system", "check"]);
    assert_eq!(shop.alone(&["saved", "cat", "/built"]), "built");
}
