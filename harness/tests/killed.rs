//! A run that is killed at any instant is followed by `plimsoll clean`, which leaves the host as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kit::run::{PREFIX, base};
use nix::sys::wait::WaitStatus;
use runtime::cgroup::Layout;

const PLIMSOLL: &str = env!("CARGO_BIN_EXE_plimsoll");

#[derive(Debug, PartialEq, Eq)]
struct Host {
    mounts: String,
    cgroups: BTreeSet<PathBuf>,
    processes: BTreeSet<i32>,
    devices: String,
    loops: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
    namespaces: BTreeSet<PathBuf>,
}

/// What a run of ours could have changed.
fn host() -> Host {
    let layout = Layout::detect().unwrap();
    let cgroups = layout
        .hierarchies
        .iter()
        .flat_map(|hierarchy| fs::read_dir(&hierarchy.mount_point).unwrap().flatten())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
        .collect();
    let processes = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(13).any(|part| part == b"PLIMSOLL_RUN=")
        })
        .collect();
    let named = |dir: &str, start: &str| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|n| n.starts_with(start))
            .collect()
    };
    // A dead process whose parent has not waited for it yet still has a link to its PID namespace, and nothing else.
    let is_dead = |process: &fs::DirEntry| {
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
    };
    let namespaces = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|process| !is_dead(process))
        .flat_map(|entry| fs::read_dir(entry.path().join("ns")).into_iter().flatten().flatten())
        .filter_map(|link| fs::read_link(link.path()).ok())
        .collect();
    Host {
        namespaces,
        mounts: fs::read_to_string("/proc/self/mountinfo").unwrap(),
        cgroups,
        processes,
        devices: fs::read_to_string("/proc/net/dev").unwrap().lines().skip(2).map(first_word).collect(),
        loops: named("/sys/block", "loop"),
        files: fs::read_dir(base())
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.is_dir())
            .collect(),
    }
}

fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// Buries all that was left to this process. What is still alive when patience ends is for the test to see.
fn reap_orphans() {
    use nix::sys::wait::{WaitPidFlag, waitpid};
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            // No children at all: a process that dies with its namespace takes a moment longer than that one.
            Err(nix::errno::Errno::ECHILD) => return,
            Err(_) => {}
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
            Ok(_) => {}
        }
    }
}

fn clean() {
    let output = Command::new(PLIMSOLL).arg("clean").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn clean_restores_the_host_after_a_kill_at_any_instant() {
    if !nix::unistd::geteuid().is_root() {
        skip("needs root");
        return;
    }
    // A dead orphan keeps its PID namespace until its new parent reaps it. Not every host's init does, so this test
    // adopts them itself.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    clean();
    let before = host();
    let mut seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let instants: Vec<u64> = (0..10)
        .map(|_| {
            // A small congruential generator: the instants need only differ from run to run.
            seed = (seed * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % (1 << 64);
            u64::try_from((seed >> 33) % 600).unwrap()
        })
        .collect();
    eprintln!("killed after {instants:?} ms");
    let mut left_something = false;
    for millis in &instants {
        let mut child = Command::new(PLIMSOLL)
            .args(["check", "ns.", "rootfs.", "memory.", "freezer.", "cgroup.", "commit."])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(*millis));
        child.kill().unwrap();
        child.wait().unwrap();
        left_something |= host() != before;
        clean();
        reap_orphans();
        assert_eq!(host(), before, "killed after {millis} ms");
    }
    assert!(left_something, "the kills came too early or too late to leave anything: {instants:?}");
}

/// Says so past the capture of output: CI counts what was not tried, and why.
fn skip(reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}
