//! The command line, and subjects that lie.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use harness::findings;
use record::{Outcome, Run, Verdict};
use reports::json;

const PLIMSOLL: &str = env!("CARGO_BIN_EXE_plimsoll");

fn plimsoll(arguments: &[&str]) -> Output {
    Command::new(PLIMSOLL).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A wrapper around runc (or else our own runtime) that drops the CPU quota from config.json.
#[test]
fn a_subject_that_drops_the_quota_fails_what_rests_on_it_and_nothing_else() {
    if !nix::unistd::geteuid().is_root() {
        skip("needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let wrapper = dir.path().join("wrapper");
    let runtime = if said_has_runc() {
        "exec runc \"$@\"".to_owned()
    } else {
        // The multi-call program needs its other name.
        let link = dir.path().join("plim-runtime");
        std::os::unix::fs::symlink(PLIMSOLL, &link).unwrap();
        format!("exec {} \"$@\"", link.display())
    };
    let script = format!(
        "#!/bin/sh\nbundle=\nfor word; do [ \"$last\" = --bundle ] && bundle=$word; last=$word; done\n\
         [ -n \"$bundle\" ] && sed -i 's/\"quota\": [0-9]*/\"quota\": -1/' \"$bundle/config.json\"\n{runtime}\n"
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let record = dir.path().join("record.json");
    let output =
        plimsoll(&["check", "--subject", wrapper.to_str().unwrap(), "--json", record.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let run: Run = json::read(&record).unwrap();
    // What is known of the runtime behind the wrapper has nothing to do with the quota.
    let news =
        |o: &&Outcome| o.verdict == Verdict::Fail && findings::of(&o.check, &run.subjects[0]).is_none();
    let mut failed: Vec<&str> = run.outcomes.iter().filter(news).map(|o| o.check.as_str()).collect();
    failed.sort_unstable();
    let expected = [
        "cpu.quota.20-percent",
        "cpu.quota.period-sweep",
        "cpu.quota.shared-by-threads",
        "cpu.quota.sweep",
        "cpu.throttle.accounting",
        "cpu.throttle.gap-shape",
    ];
    assert_eq!(failed, expected, "{}", said(&output));
    assert!(run.left_behind.is_empty(), "{:?}", run.left_behind);
}

/// A program that says it is a runtime, and whose `run` is these words; `$core` is our own runtime.
fn pretender(dir: &Path, name: &str, run: &str) -> String {
    let link = dir.join("plim-runtime");
    if !link.exists() {
        std::os::unix::fs::symlink(PLIMSOLL, &link).unwrap();
    }
    let path = dir.join(name);
    let script = format!(
        "#!/bin/sh\ncore={}\nbundle=\nfor word; do [ \"$last\" = --bundle ] && bundle=$word; last=$word; done\n\
         case \"$*\" in --version) echo 'runc version 9'; echo 'spec: 1.0.2'; exit;; esac\n\
         [ -n \"$bundle\" ] || exec \"$core\" \"$@\"\n{run}\n",
        link.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_subject_that_runs_nothing_passes_nothing_and_fails_nothing() {
    if !nix::unistd::geteuid().is_root() {
        skip("needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("false", "exit 1", "exit status is 1, without a word"),
        ("true", "exit 0", "exit status is 0, without a word"),
        ("hangs", "exec sleep 1000", "end within 20s"),
        ("garbage", "printf 'y\\377\\033[2J\\n'; echo tea >&2; exit 3", "tea"),
        ("endless", "exec cat /dev/zero", "longer than"),
        // The container is there, and its application is not the one that was asked for.
        (
            "other",
            "sed -i 's/\"serve\"/\"sleep\"/' \"$bundle/config.json\"; exec \"$core\" \"$@\"",
            "no answer to",
        ),
    ];
    std::thread::scope(|scope| {
        for (name, words, expected) in cases {
            let subject = pretender(dir.path(), name, words);
            let record = dir.path().join(format!("{name}.json"));
            scope.spawn(move || {
                let words = [
                    "check",
                    "--scope",
                    "runtime",
                    "--subject",
                    &subject,
                    "--json",
                    record.to_str().unwrap(),
                ];
                let output = plimsoll(&words);
                assert_eq!(output.status.code(), Some(2), "{name}: {}", said(&output));
                let told = String::from_utf8_lossy(&output.stderr);
                assert_eq!(told.matches("before the checks: ").count(), 1, "{name}: {told}");
                let run: Run = json::read(&record).unwrap();
                assert!(run.outcomes.len() > 50);
                for outcome in &run.outcomes {
                    let is_told = outcome.verdict == Verdict::Error && outcome.reason.contains(expected);
                    assert!(
                        is_told || outcome.verdict == Verdict::Skip,
                        "{name}: {}: {}",
                        outcome.check,
                        outcome.reason
                    );
                }
                assert!(run.counts().error > 50, "{name}: {:?}", run.counts());
                assert!(run.left_behind.is_empty(), "{name}: {:?}", run.left_behind);
            });
        }
    });
    for program in ["/bin/false", "/bin/true"] {
        let output = plimsoll(&["check", "--subject", program]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("unknown runtime or engine"), "{}", said(&output));
    }
}

fn said_has_runc() -> bool {
    Command::new("runc").arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn bad_words_are_refused_with_the_remedy() {
    for (arguments, expected) in [
        (vec!["check", "ns.tea"], "ns.tea"),
        (vec!["check", "--subject", "/no/such/runtime"], "/no/such/runtime"),
        (vec!["explain", "ns.tea"], "plimsoll list"),
        (vec!["prove", "ns.tea"], "ns.tea"),
        (vec!["matrix", "--row", "4.4-v1"], "4.4-v1"),
        (vec!["matrix", "--row", "6.1-v2", "ns.tea"], "ns.tea"),
        (vec!["matrix", "--file", "/no/such/list"], "/no/such/list"),
        (vec!["report", "/no/such/record"], "/no/such/record"),
    ] {
        let output = plimsoll(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn every_check_is_listed_and_explained() {
    let listed = said(&plimsoll(&["list"]));
    assert_eq!(listed.lines().count(), catalogue::all().len());
    for check in catalogue::all() {
        let text = said(&plimsoll(&["explain", check.id]));
        assert!(text.contains(check.claim) && text.contains("fault"), "{text}");
    }
}

#[test]
fn without_rights_every_check_is_skipped_with_the_reason() {
    let mut command = Command::new(PLIMSOLL);
    if nix::unistd::geteuid().is_root() {
        use std::os::unix::process::CommandExt;
        // Readable and executable for everybody, which the build directory need not be.
        let copy = std::env::temp_dir().join(format!("plimsoll-as-user-{}", std::process::id()));
        fs::copy(PLIMSOLL, &copy).unwrap();
        command = Command::new(&copy);
        command.uid(65_534).gid(65_534).env_remove("XDG_RUNTIME_DIR").current_dir("/");
        let output = command.args(["check"]).output();
        fs::remove_file(&copy).unwrap();
        let _ = fs::remove_dir_all(std::env::temp_dir().join("plimsoll-65534"));
        check_skips(&output.unwrap());
        return;
    }
    check_skips(&command.arg("check").output().unwrap());
}

fn check_skips(output: &Output) {
    assert_eq!(output.status.code(), Some(3), "nothing tried is no success: {}", said(output));
    assert!(said(output).contains("0 passed, 0 failed"), "{}", said(output));
    assert!(said(output).contains("needs root"), "{}", said(output));
}

/// Says so past the capture of output: CI counts what was not tried, and why.
fn skip(reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}
