//! What people expect of a command that runs tests: forms, quiet, colours, the first failure. None of these checks needs root
//! to say what it says.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn plimsoll(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(words).env_remove("NO_COLOR").env_remove("GITHUB_ACTIONS");
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const CHECK: &[&str] = &["check", "pids.max.hierarchical", "--subject", "core"];

fn check(more: &[&str]) -> Output {
    plimsoll(&[CHECK, more].concat())
}

#[test]
fn forms_are_written_beside_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let junit = path("junit.xml");
    let ktap = format!("ktap={}", path("ktap"));
    let output = check(&["--junit", &junit, "--form", &ktap]);
    assert!(printed(&output).contains("pids.max.hierarchical"), "{output:?}");
    assert!(std::fs::read_to_string(path("junit.xml")).unwrap().contains("<testsuites"));
    assert!(std::fs::read_to_string(path("ktap")).unwrap().starts_with("KTAP version 1"));
    for (wrong, said) in [
        ("junit", "FORM=FILE"),
        ("tea=x", "unknown form 'tea'"),
        ("junit=", "empty"),
        ("charts=x", "unknown form"),
    ] {
        let output = check(&["--form", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{wrong}: {output:?}");
    }
    let output = check(&["--junit", "/nonexistent/junit.xml"]);
    assert_eq!((output.status.code(), printed(&output).as_str()), (Some(2), ""), "before the checks");
}

#[test]
fn a_job_of_github_gets_its_summary() {
    let dir = tempfile::tempdir().unwrap();
    let summary = dir.path().join("summary.md");
    std::fs::write(&summary, "of another command\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(CHECK)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary)
        .output()
        .unwrap();
    assert!(printed(&output).contains("::notice title=plimsoll::"), "{output:?}");
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("of another command\n## Plimsoll"), "{text}");
}

#[test]
fn quiet_says_only_the_total_of_what_passed() {
    let output = check(&["--quiet"]);
    let lines = printed(&output).lines().count();
    // Without rights it is skipped, which is told.
    let most = if output.status.success() { 1 } else { 4 };
    assert!((1..=most).contains(&lines), "{}", printed(&output));
    assert!(printed(&output).trim_end().ends_with(" s"), "the last line is the total");
}

#[test]
fn colours_come_and_go_as_asked() {
    assert!(!printed(&check(&[])).contains('\u{1b}'), "no terminal");
    assert!(printed(&check(&["--color", "always"])).contains('\u{1b}'));
}

/// A runtime of ours whose containers have no host name of their own.
fn forgetful(dir: &Path) -> PathBuf {
    let (link, wrapper) = (dir.join("plim-runtime"), dir.join("wrapper"));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_plimsoll"), &link).unwrap();
    let script = format!(
        "#!/bin/sh\nfor word; do [ \"$last\" = --bundle ] && sed -i 's/\"hostname\": \"[^\"]*\"/\"hostname\": \"other\"/' \"$word/config.json\"; \
         last=$word; done\nexec {} \"$@\"\n",
        link.display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    wrapper
}

#[test]
fn after_the_first_failure_nothing_is_tried() {
    if !nix::unistd::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record.json");
    let wrapper = forgetful(dir.path());
    let of = ["check", "ns.uts", "rootfs.masked-paths", "--subject", wrapper.to_str().unwrap()];
    let how = ["--fail-fast", "--jobs", "1", "--json", record.to_str().unwrap()];
    let output = plimsoll(&[&of[..], &how[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    let run: record::Run = reports::json::read(&record).unwrap();
    let (first, rest) = run.outcomes.split_first().unwrap();
    assert_eq!(first.verdict, record::Verdict::Fail, "{}", printed(&output));
    assert!(
        !rest.is_empty() && rest.iter().all(|one| one.reason.contains("failed before it")),
        "{}",
        printed(&output)
    );
}

#[test]
fn shells_and_the_manual_know_the_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = plimsoll(&["completion", shell]);
        assert!(output.status.success() && printed(&output).contains("fail-fast"), "{shell}");
    }
    let mut syntax = Command::new("bash").arg("-n").stdin(std::process::Stdio::piped()).spawn().unwrap();
    Write::write_all(&mut syntax.stdin.take().unwrap(), &plimsoll(&["completion", "bash"]).stdout).unwrap();
    assert!(syntax.wait().unwrap().success());
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    assert!(plimsoll(&["man", pages.to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(pages.join("plimsoll-check.1")).unwrap();
    assert!(page.contains("fail\\-fast") && page.contains(".TH"), "{page}");
    assert_eq!(plimsoll(&["man", "/dev/null/x"]).status.code(), Some(2));
}

#[test]
fn no_jobs_at_all_are_refused() {
    assert_eq!(plimsoll(&["check", "--jobs", "0"]).status.code(), Some(2));
}
