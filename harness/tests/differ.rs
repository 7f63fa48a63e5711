//! `plimsoll differ`: it finds what differs, finds nothing where nothing does, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: needs root");
    }
    is_root
}

fn differ(words: &[&str], dir: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("differ").args(words).arg("--out").arg(dir.join("out")).stdin(Stdio::null()).current_dir(dir);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code(), text)
}

/// A runtime that is the core, but for what these lines of shell do.
fn wrapper(dir: &Path, name: &str, lines: &str) -> PathBuf {
    let path = dir.join(name);
    // A program with several names is told by a link which one is meant.
    let link = dir.join("plim-runtime");
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_plimsoll"), &link);
    let text = format!("#!/bin/sh\ncommand=$3\n{lines}\nexec {} \"$@\"\n", link.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_core_differs_neither_from_itself_nor_from_the_specification() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (status, said) = differ(&["core", "core", "--cases", "20", "--seed", "22"], dir.path());
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("20 cases, 0 differences"), "{said}");
    assert!(!dir.path().join("out").exists());
}

#[test]
fn stored_findings_are_found_no_more() {
    if !root() {
        return;
    }
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/differ/corpus");
    let dir = tempfile::tempdir().unwrap();
    let (status, said) = differ(&["core", "--replay", corpus], dir.path());
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_runtime_that_is_a_little_wrong_is_found_with_its_smallest_case() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let drops = r#"if [ "$command" = create ]; then sed -i 's/"oomScoreAdj": [0-9]*/"oomScoreAdj": 0/' "$5/config.json"; fi"#;
    let drops = wrapper(dir.path(), "drops", drops);
    let record = dir.path().join("differ.json");
    let words = ["core", drops.to_str().unwrap(), "--only", "terms", "--cases", "12", "--seed", "1"];
    let words = [&words[..], &["--json", record.to_str().unwrap()]].concat();
    let (status, said) = differ(&words, dir.path());
    assert_eq!(status, Some(1), "{said}");
    let record: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    let found = record["found"].as_array().unwrap();
    let found: Vec<_> = found.iter().filter(|one| one["field"] == "inside.process.oom_score_adj").collect();
    assert!(!found.is_empty(), "{said}");
    assert_eq!((&found[0]["subject"], &found[0]["against"]), (&"drops".into(), &"specification".into()));
    assert_eq!(found[0]["asked"], serde_json::json!(["process/oomScoreAdj"]), "{said}");
    assert!(said.contains("1 differences"), "{said}");
    // The directory has all that it takes to see it by hand.
    let finding = fs::read_dir(dir.path().join("out")).unwrap().next().unwrap().unwrap().path();
    for name in ["README.md", "config.json", "make-rootfs", "case.json", "seen.json"] {
        assert!(finding.join(name).is_file(), "{name}");
    }
    let case = finding.join("case.json");
    let (status, said) =
        differ(&["core", drops.to_str().unwrap(), "--replay", case.to_str().unwrap()], dir.path());
    assert_eq!(status, Some(1), "{said}");
}

#[test]
fn a_runtime_that_crashes_and_one_that_leaves_things_are_findings() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, lines, expected) in [
        ("crashes", r#"if [ "$command" = start ]; then kill -SEGV $$; fi"#, "operation.start: crashed"),
        ("leaves", r#"if [ "$command" = delete ]; then exit 0; fi"#, "left.groups"),
    ] {
        let program = wrapper(dir.path(), name, lines);
        let (status, said) = differ(
            &[program.to_str().unwrap(), "--cases", "1", "--seed", "4", "--shrinking", "2"],
            dir.path(),
        );
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(expected), "{name}: {said}");
    }
}

#[test]
fn faults_are_told_from_the_real_runtime() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let of = ["--of", "ns.uts.hostname", "--of", "pids.max.fork-fails", "--of", "cpu.quota.20-percent"];
    let (status, said) = differ(&[&["--prove", "--seed", "22"], &of[..]].concat(), dir.path());
    assert_eq!(status, Some(0), "{said}");
}

/// Every fault of the catalogue that changes what a case asks for. It takes minutes.
#[test]
#[ignore = "takes minutes: cargo test -p harness --test differ -- --ignored"]
fn nine_of_ten_faults_are_told_from_the_real_runtime() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (status, said) = differ(&["--prove", "--seed", "22"], dir.path());
    assert_eq!(status, Some(0), "{said}");
}
