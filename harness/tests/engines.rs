//! containerd as a subject; and Docker: with daemons of the checks' own, and with a user's, of which nothing may be changed.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use record::{Run, Verdict};
use reports::json;

const PLIMSOLL: &str = env!("CARGO_BIN_EXE_plimsoll");

fn plimsoll(arguments: &[&str]) -> Output {
    Command::new(PLIMSOLL).args(arguments).env_remove("DOCKER_HOST").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Docker, if it can be tried here.
fn docker() -> Option<PathBuf> {
    if !nix::unistd::geteuid().is_root() {
        skip("needs root");
        return None;
    }
    let found = runtime::process::in_path("docker");
    let daemon = runtime::process::in_path("dockerd").and(runtime::process::in_path("containerd"));
    if found.is_none() || daemon.is_none() {
        skip("there is no Docker: apt-get install docker.io");
        return None;
    }
    found
}

#[test]
fn docker_is_checked_by_its_own_words_and_through_bundles_and_nothing_is_left() {
    let Some(docker) = docker() else { return };
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record.json");
    let output = plimsoll(&[
        "check",
        "rootfs.read-only.by-engine",
        "ns.uts.hostname",
        "ns.user.root-is-mapped",
        "--subject",
        docker.to_str().unwrap(),
        "--json",
        record.to_str().unwrap(),
    ]);
    let run: Run = json::read(&record).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    let verdict = |check: &str| run.outcomes.iter().find(|outcome| outcome.check == check).unwrap();
    for check in ["rootfs.read-only.by-engine", "ns.uts.hostname"] {
        assert_eq!(verdict(check).verdict, Verdict::Pass, "{}", said(&output));
    }
    // What its options cannot express is no failure, and the reason names the field.
    let skipped = verdict("ns.user.root-is-mapped");
    assert_eq!(skipped.verdict, Verdict::Skip, "{}", said(&output));
    assert!(skipped.reason.contains("linux.namespaces"), "{}", skipped.reason);
    assert!(run.left_behind.is_empty(), "{:?}", run.left_behind);
}

#[test]
fn containerd_takes_bundles_as_they_are_and_nothing_is_left() {
    let all = ["containerd", "ctr", "runc"];
    if !nix::unistd::geteuid().is_root() || all.iter().any(|name| runtime::process::in_path(name).is_none()) {
        return skip("needs root, containerd, ctr and runc: apt-get install containerd");
    }
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record.json");
    let checks = ["life.hook-arguments", "life.exit-status", "ns.exec.joins-all", "life.kill-created"];
    let output = plimsoll(
        &[&["check", "--subject", "containerd", "--json", record.to_str().unwrap()], &checks[..]].concat(),
    );
    let run: Run = json::read(&record).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    for (check, expected) in checks.iter().zip([Verdict::Pass, Verdict::Pass, Verdict::Pass, Verdict::Skip]) {
        let found = run.outcomes.iter().find(|outcome| outcome.check == *check).unwrap();
        assert_eq!(found.verdict, expected, "{check}: {}", said(&output));
    }
    assert!(run.left_behind.is_empty(), "{:?}", run.left_behind);
}

#[test]
fn what_is_for_engines_is_refused_elsewhere() {
    for (arguments, expected) in [
        (&["check", "--host", "unix:///x"][..], "name it"),
        (&["check", "--subject", "core", "--host", "unix:///x"], "takes no --host"),
        (&["check", "--subject", "docker", "--runtime", "crun"], "NAME=PATH"),
        (&["check", "--subject", "docker", "--runtime", "x=/no/such"], "/no/such"),
    ] {
        let output = plimsoll(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
    }
}

/// Somebody's daemon, full of things that are not ours. It has mounts, a network and a /run of its own, so that the host keeps its.
struct Daemon {
    child: Child,
    docker: PathBuf,
    host: String,
}

impl Daemon {
    fn start(docker: &Path, dir: &Path) -> Self {
        let socket = dir.join("docker.sock");
        let script = format!(
            "set -e\nip link set lo up\nmkdir {dir}/kept\nmount --rbind /run/plimsoll {dir}/kept\nmount -t tmpfs none /run\n\
             mkdir /run/plimsoll\nmount --rbind {dir}/kept /run/plimsoll\n\
             echo '{{\"deprecated-key-path\": \"{dir}/key\"}}' > {dir}/daemon.json\n\
             dockerd --version | grep -q ' 20\\.' || echo '{{}}' > {dir}/daemon.json\n\
             exec dockerd --config-file {dir}/daemon.json --data-root {dir}/data --exec-root {dir}/exec --pidfile {dir}/pid \
             --host unix://{dir}/docker.sock --cgroup-parent /foreign-engine --default-ulimit nofile=1024:1024",
            dir = dir.display()
        );
        std::fs::create_dir_all("/run/plimsoll").unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "--net", "--ipc", "--uts", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut daemon =
            Self { child, docker: docker.to_owned(), host: format!("unix://{}", socket.display()) };
        let deadline = Instant::now() + Duration::from_secs(60);
        // It tells nobody when it listens; a client that is connected waits until it is ready.
        while UnixStream::connect(&socket).is_err() {
            let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(daemon.child.try_wait().unwrap().is_none() && Instant::now() < deadline, "{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    fn say(&self, words: &[&str]) -> String {
        let output = Command::new(&self.docker)
            .env("DOCKER_CONTEXT", "")
            .args(["--host", &self.host])
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Everything that it has, as it describes it.
    fn all(&self) -> String {
        let mut text = String::new();
        for (list, inspect) in [
            (&["ps", "-aq", "--no-trunc"][..], "container"),
            (&["images", "-aq", "--no-trunc"], "image"),
            (&["network", "ls", "-q", "--no-trunc"], "network"),
            (&["volume", "ls", "-q"], "volume"),
        ] {
            let mut ids: Vec<String> = self.say(list).lines().map(str::to_owned).collect();
            ids.sort();
            ids.dedup();
            text.push_str(&format!("{inspect}: {ids:?}\n"));
            for id in ids {
                text.push_str(&self.say(&[inspect, "inspect", &id]));
            }
        }
        text
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.child.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.child.wait();
        // The daemon leaves the group above those of its containers, on each hierarchy.
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(hierarchy.path().join("foreign-engine"));
        }
    }
}

/// Runs are killed at many instants; the daemon of somebody else is then as it was.
#[test]
#[ignore = "minutes: a daemon full of foreign things, and runs that are killed"]
fn a_daemon_of_the_users_is_as_before_after_runs_that_are_killed() {
    let Some(docker) = docker() else { return };
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let daemon = Daemon::start(&docker, dir.path());
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("tmp")).unwrap();
    std::fs::copy(PLIMSOLL, root.join("probe")).unwrap();
    let archive = dir.path().join("root.tar");
    let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status().unwrap();
    assert!(packed.success());
    daemon.say(&["import", archive.to_str().unwrap(), "foreign:1"]);
    daemon.say(&["tag", "foreign:1", "base"]);
    daemon.say(&["network", "create", "foreign"]);
    daemon.say(&["volume", "create", "cargo"]);
    let flags = ["run", "-d", "--name", "plimsoll-like", "--network", "foreign", "-v", "cargo:/hold"];
    daemon.say(&[&flags[..], &["foreign:1", "/probe", "sleep"]].concat());
    daemon.say(&["create", "--name", "stopped", "base", "/probe", "true"]);
    let before = daemon.all();
    let arguments = ["check", "ns.uts.", "ns.pid.", "memory.limit.", "rootfs.readonly", "--scope", "runtime"];
    for millis in [300, 900, 1500, 2200, 3000, 4500, 7000] {
        let mut run = Command::new(PLIMSOLL)
            .args(arguments)
            .args(["--subject", docker.to_str().unwrap(), "--host", &daemon.host])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The instant is what is tried.
        std::thread::sleep(Duration::from_millis(millis));
        run.kill().unwrap();
        run.wait().unwrap();
        // A request that was under way may still be answered: until nothing comes any more.
        let deadline = Instant::now() + Duration::from_secs(60);
        while daemon.all() != before && Instant::now() < deadline {
            let cleaned = plimsoll(&["clean"]);
            assert!(Instant::now() < deadline || cleaned.status.success(), "{}", said(&cleaned));
        }
        assert_eq!(daemon.all(), before, "killed after {millis} ms");
        plimsoll(&["clean"]);
    }
    let whole = plimsoll(
        &[&arguments[..], &["--subject", docker.to_str().unwrap(), "--host", &daemon.host, "--verbose"]]
            .concat(),
    );
    assert!(said(&whole).contains(" 0 failed"), "{}", said(&whole));
    assert_eq!(daemon.all(), before, "after a whole run");
    daemon.say(&["rm", "-f", "-v", "plimsoll-like", "stopped"]);
}

/// Says so past the capture of output: CI counts what was not tried, and why.
fn skip(reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}
