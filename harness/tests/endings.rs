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
        let mut child = plimsoll(&["check", "ns", "rootfs", "memory", "--subject", "core", "--json"])
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
fn doctor_says_what_can_be_tried_in_words_and_as_json() {
    let output = plimsoll(&["doctor", "--json"]).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let possible = found["can_be_tried"].as_u64().unwrap();
    assert_eq!(output.status.code(), Some(if possible > 0 { 0 } else { 3 }), "{}", text(&output.stderr));
    assert!(found["needs"].as_array().unwrap().iter().any(|need| need["name"] == "root"), "{found}");
    assert_eq!(found["subjects"][0]["name"], "core");
    let more = found["checks"].as_u64().unwrap() + 1;
    let asked = plimsoll(&["doctor", "--require", &more.to_string()]).output().unwrap();
    assert_eq!(asked.status.code(), Some(3));
    assert!(text(&asked.stdout).contains(&format!("{possible} of {} checks can be tried here", more - 1)));
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

#[test]
fn known_failures_are_marked_in_all_forms_and_do_not_decide_the_status() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let runtime = path("runtime");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_plimsoll"), path("plim-runtime")).unwrap();
    // It gives every container another name.
    let script = format!(
        "#!/bin/sh\nfor word; do [ \"$last\" = --bundle ] && sed -i 's/\"hostname\": *\"inside\"/\"hostname\": \"other\"/' \
         \"$word/config.json\"; last=$word; done\nexec {} \"$@\"\n",
        path("plim-runtime")
    );
    std::fs::write(&runtime, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&runtime, executable).unwrap();
    let entry = |check: &str, version: &str| {
        format!(
            "[[known]]\ncheck = '{check}'\nsubject = 'runtime'\nversion = '{version}'\nlink = 'https://x/7'\n"
        )
    };
    let check = |known: &str, record: &str| {
        std::fs::write(path("known"), known).unwrap();
        let (known, record) = (path("known"), path(record));
        let words = ["check", "ns.uts.hostname", "ns.uts.domainname", "--subject", &runtime];
        plimsoll(&[&words[..], &["--known", &known, "--json", &record]].concat()).output().unwrap()
    };
    let both = entry("ns.uts.hostname", ">=0.1") + &entry("ns.uts.domainname", "<9");
    let output = check(&both, "record");
    assert_eq!(output.status.code(), Some(0), "{} {}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stderr).contains("1 of the failures are known"), "{}", text(&output.stderr));
    let run: Run = json::read(path("record").as_ref()).unwrap();
    assert_eq!((run.counts().fail, run.counts().pass), (1, 1), "known failures stay failures");
    let record = path("record");
    for form in ["table", "html", "junit", "ktap", "kcidb", "markdown", "github", "sarif"] {
        let shown = plimsoll(&["report", "--form", form, &record]).output().unwrap();
        let shown_text = text(&shown.stdout);
        assert!(shown_text.contains("https://x/7"), "{form}: {shown_text}");
        assert_eq!(shown.status.code(), Some(0), "{form}");
    }
    let passes = text(&plimsoll(&["report", "--form", "table", &record]).output().unwrap().stdout);
    assert!(passes.contains("passes, and is known to fail"), "{passes}");
    assert_eq!(check(&entry("ns.uts.hostname", ">=9"), "other").status.code(), Some(1), "of another version");
    assert_eq!(check("[[known]]", "none").status.code(), Some(2));
}
