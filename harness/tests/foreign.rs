//! What does not carry a run's name is left alone, whatever an engine lists.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

#[test]
fn an_engine_that_ignores_its_root_loses_no_container_of_others() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (engine, log) = (dir.path().join("podman"), dir.path().join("log"));
    // It lists one container of somebody else, and one of each run that made any.
    let script = format!(
        "#!/bin/sh\nlog={}\necho \"$*\" >> $log\ncase \"$*\" in\n*--version*) echo 'podman version 5.4.2';;\n\
         *' ps '*) echo somebodys-database; sed -n 's/.* --name \\([^ ]*\\) .*/\\1/p' $log;;\n*) exit 0;;\nesac\n",
        log.display()
    );
    fs::write(&engine, script).unwrap();
    fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["check", "--scope", "engine", "volume.named", "--subject"])
        .arg(&engine)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = fs::read_to_string(&log).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let removals: Vec<&str> = log.lines().filter(|line| line.contains(" rm -f ")).collect();
    assert!(log.lines().any(|line| line.contains(" run ")), "nothing was tried: {said}");
    assert!(removals.iter().any(|line| line.contains("plimsoll-")), "the run's own are removed: {log}");
    assert!(!removals.iter().any(|line| line.contains("somebodys-database")), "{removals:?}");
}
