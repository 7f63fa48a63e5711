//! How a run ends: its exit status, by a signal, or because others must not run beside it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::{Run, Verdict};
use reports::json;

fn plimsoll(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(words).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Says so past the capture of output: CI counts what was not tried, and why.
fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        let _ = writeln!(std::io::stderr(), "skipped: needs root");
    }
    is_root
}

#[test]
fn a_signal_ends_the_checks_and_what_is_known_is_written() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let record = dir.path().join(format!("{signal}.json"));
        let mut child = plimsoll(&["check", "ns.", "rootfs.", "memory.", "--subject", "core", "--json"])
            .arg(&record)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert!(first.starts_with("[1/") && first.contains("(core)"), "a line for each verdict: {first}");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let mut rest = Vec::new();
        lines.read_to_end(&mut rest).unwrap();
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        assert_eq!(status.code(), Some(128 + signal as i32), "{}", text(&stderr));
        assert!(text(&stderr).contains("plimsoll clean"), "{}", text(&stderr));
        let run: Run = json::read(&record).unwrap();
        let ended = |verdict| run.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
        assert!(ended(Verdict::Pass) > 0 && ended(Verdict::Skip) > 0, "{:?}", run.counts());
        assert_eq!((ended(Verdict::Fail), ended(Verdict::Error)), (0, 0), "{}", text(&rest));
        assert!(run.outcomes.iter().any(|outcome| outcome.reason.contains(signal.as_str())));
        assert_eq!(run.left_behind, Vec::<String>::new());
        assert!(!kit::run::base().join(&run.id).exists());
    }
}

#[test]
fn nothing_tried_too_little_and_a_bisection_have_their_statuses() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record.json");
    let path = record.to_str().unwrap();
    let check = |words: &[&str]| {
        let output = plimsoll(&[&["check", "pids.max.hierarchical"], words].concat()).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    if check(&["--json", path]).0 == Some(3) {
        // No pids controller here: then all of them end so.
        assert_eq!(check(&["--bisect"]).0, Some(125));
        return;
    }
    assert_eq!(check(&["--require", "100%"]).0, Some(0));
    let (status, said) = check(&["--require", "2"]);
    assert_eq!(status, Some(3));
    assert!(said.contains("1 of 1 checks passed or failed, and 2 must"), "{said}");
    assert_eq!(check(&["--require", "2", "--bisect"]).0, Some(125));
    assert_eq!(check(&["--require", "x"]).0, Some(2));
    let mut run: Run = json::read(&record).unwrap();
    run.outcomes[0].verdict = Verdict::Skip;
    let later = dir.path().join("later.json");
    std::fs::write(&later, json::text(&run).unwrap()).unwrap();
    let later = later.to_str().unwrap();
    for (words, expected) in [
        (vec!["report", path], 0),
        (vec!["report", path, "--require", "2"], 3),
        (vec!["report", later], 3),
        // What was tried before was not tried again.
        (vec!["diff", path, later], 3),
        (vec!["diff", path, path], 0),
        (vec!["diff", path, path, "--require", "2"], 3),
    ] {
        assert_eq!(plimsoll(&words).output().unwrap().status.code(), Some(expected), "{words:?}");
    }
}

#[test]
fn a_run_that_must_not_begin_beside_another_says_so_and_gives_up_in_time() {
    if !is_root() {
        return;
    }
    let base = kit::run::base();
    std::fs::create_dir_all(&base).unwrap();
    let turn = File::options().create(true).append(true).open(base.join("turn")).unwrap();
    turn.lock().unwrap();
    let words = ["check", "pids.max.hierarchical", "--wait", "3s"];
    let Output { status, stdout, stderr } = plimsoll(&words).output().unwrap();
    drop(turn);
    let own = format!("process {}", std::process::id());
    assert_eq!(status.code(), Some(2), "{}", text(&stdout));
    assert!(text(&stderr).contains(&format!("waiting for {own}")), "{}", text(&stderr));
    assert!(text(&stdout).contains("waited 3s"), "{}", text(&stdout));
}
