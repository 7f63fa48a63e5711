//! Hosts that lack something: nothing fails that could not be tried, and one reason is told.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use record::{Run, Verdict};
use reports::json;

const PLIMSOLL: &str = env!("CARGO_BIN_EXE_plimsoll");

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Says so past the capture of output: CI counts what was not tried, and why.
fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// Runs a shell's words, in which `$P` is the program and `$R` the record; the status and what was recorded.
fn run_on(host: &[&str], words: &str) -> (Option<i32>, Run, String) {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record.json");
    let output = Command::new(host[0])
        .args(&host[1..])
        .args(["sh", "-c", words])
        .env("P", PLIMSOLL)
        .env("R", &record)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let run = json::read(&record).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    (output.status.code(), run, said(&output))
}

fn reasons(run: &Run) -> BTreeSet<&str> {
    run.outcomes.iter().map(|outcome| outcome.reason.as_str()).collect()
}

const CHECKS: &str = "$P check ns.uts ns.pid rootfs.dev-nodes memory.limit --subject core --json $R";

#[test]
fn a_host_that_lacks_a_right_is_told_that_once_and_no_claim_fails() {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    for (host, expected) in [
        (vec!["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"], "unshare: EPERM"),
        (vec!["unshare", "--user", "--map-root-user"], "making a device: EPERM"),
        (vec!["unshare", "--pid", "--fork"], "/proc is that of another PID namespace"),
    ] {
        let (status, run, text) = run_on(&host, CHECKS);
        assert_eq!(status, Some(3), "{host:?}: {text}");
        assert!(run.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Skip), "{host:?}: {text}");
        let reasons = reasons(&run);
        assert_eq!(reasons.len(), 1, "{host:?}: {reasons:?}");
        assert!(reasons.iter().all(|reason| reason.contains(expected)), "{host:?}: {reasons:?}");
    }
}

#[test]
fn without_writable_groups_what_needs_none_is_still_checked() {
    let layout = runtime::cgroup::Layout::detect().unwrap();
    let (true, Some(hierarchy)) = (nix::unistd::geteuid().is_root(), layout.hierarchies.first()) else {
        return skip("needs root and a cgroup hierarchy");
    };
    let read_only = format!("mount -o remount,bind,ro {} && {CHECKS}", hierarchy.mount_point.display());
    let (status, run, text) = run_on(&["unshare", "--mount"], &read_only);
    assert_eq!(status, Some(0), "{text}");
    let skipped: BTreeSet<&str> =
        run.outcomes.iter().filter(|o| o.verdict == Verdict::Skip).map(|o| o.reason.as_str()).collect();
    assert!(run.outcomes.iter().all(|o| matches!(o.verdict, Verdict::Skip | Verdict::Pass)), "{text}");
    assert!(run.outcomes.iter().any(|o| o.subject == "core" && o.verdict == Verdict::Skip), "{text}");
    assert!(skipped.iter().any(|reason| reason.contains("no control group can be made here")), "{skipped:?}");
}

#[test]
fn a_directory_in_which_no_program_runs_is_not_used() {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    let base = kit::run::base();
    std::fs::create_dir_all(&base).unwrap();
    let noexec = format!(
        "mount -t tmpfs -o noexec none {} && $P check rootfs.dev-nodes --subject core --json $R",
        base.display()
    );
    let (status, run, text) = run_on(&["unshare", "--mount"], &noexec);
    assert_eq!((status, run.counts().pass), (Some(0), 1), "{text}");
    // The program and the record may lie below a directory that is covered: both are at hand before that.
    let everywhere = "exec 3>$R; mount -t tmpfs none /mnt; touch /mnt/plimsoll; mount --bind $P /mnt/plimsoll; \
                      for dir in /run /var/lib /var/tmp /tmp; do mount -t tmpfs -o noexec none $dir; done; \
                      /mnt/plimsoll check rootfs.dev-nodes --subject core --json /dev/fd/3";
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let record = dir.path().join("record.json");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", everywhere])
        .env("P", PLIMSOLL)
        .env("R", &record)
        .output()
        .unwrap();
    let run: Run = json::read(&record).unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(reasons(&run).iter().all(|reason| reason.contains("noexec")), "{:?}", reasons(&run));
}

#[test]
fn user_namespaces_are_tried_and_not_only_looked_for() {
    let tried = "echo 0 > /proc/sys/user/max_user_namespaces; exec -a plimsoll-lab \"$P\" try namespace user";
    let mut command = Command::new("unshare");
    let output = command.args(["--user", "--map-root-user", "bash", "-c", tried]).env("P", PLIMSOLL).output();
    let output = output.unwrap();
    if said(&output).contains("unshare failed") {
        return skip("no user namespace can be made here");
    }
    assert!(!output.status.success() && said(&output).contains("unshare: ENOSPC"), "{}", said(&output));
}
