//! Podman on `plim-runtime`, in namespaces of its own, with storage of its own that is removed afterwards.
//!
//! Every case also runs on runc. It is the control: where runc does not give the expected answer, the host or this Podman
//! cannot, and the case says nothing.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::programs::{Abi, TEXT, write_call};
use support::{RUNTIME, is_root, said, skip};

/// A case: its name, what is typed, what is said. `$RUN` runs and removes a container, `$KEEP` starts one in the background.
const CASES: &[(&str, &str, &str)] = &[
    (
        "who, where and with what",
        "$RUN -u 33:34 -w /tmp -e A=b i sh -c 'id -u; id -g; pwd; echo $A'",
        "33\n34\n/tmp\nb\n",
    ),
    (
        "tmpfs, filled with what it covers",
        "$RUN --tmpfs /etc --mount type=tmpfs,destination=/m i sh -c 'cat /etc/name; touch /m/a && echo made'",
        "base\nmade\n",
    ),
    (
        "read-only root",
        "$RUN --read-only i sh -c 'touch /x 2>/dev/null || echo refused; touch /tmp/x && echo made'",
        "refused\nmade\n",
    ),
    (
        "user namespace with a score",
        "$RUN --uidmap 0:100000:1000 --oom-score-adj 100 i sh -c 'id -u; cat /proc/self/oom_score_adj'",
        "0\n100\n",
    ),
    (
        "another container's user namespace",
        "$KEEP --name u --uidmap 0:100000:1000 i sleep 100 >/dev/null
         $RUN --userns container:u --tmpfs /t i sh -c 'touch /t/a; cat /proc/self/uid_map' | tr -s ' '
         $P exec u id -u",
        " 0 100000 1000\n0\n",
    ),
    (
        "exec",
        "$KEEP --name e i sleep 100 >/dev/null
         $P exec -u 33:44 -w /tmp -e A=x e sh -c 'id -u; pwd; echo $A'
         $P exec e sh -c 'exit 7'; echo $?
         $P exec e nosuch 2>/dev/null; echo $?
         $P exec e ls --help 2>&1 | grep -c Usage",
        "33\n/tmp\nx\n7\n127\n1\n",
    ),
    (
        "a real-time stop signal",
        "$KEEP --name s --stop-signal SIGRTMIN+3 i sh -c 'trap \"exit 8\" 37; echo ready; while :; do sleep 0.1; done' >/dev/null
         until $P logs s | grep -q ready; do sleep 0.1; done
         $P stop -t 20 s >/dev/null; $P inspect -f '{{.State.ExitCode}}' s",
        "8\n",
    ),
    (
        "programs that cannot be started",
        "for program in /no/such nosuch /etc/name /etc; do $RUN i $program 2>/dev/null; echo $?; done",
        "127\n127\n126\n126\n",
    ),
    (
        "pause",
        "$KEEP --name p i sleep 100 >/dev/null
         $P pause p >/dev/null; $P inspect -f '{{.State.Status}}' p; $P exec p true 2>/dev/null || echo refused
         $P unpause p >/dev/null; $P exec p echo goes on",
        "paused\nrefused\ngoes on\n",
    ),
    ("a terminal, and output that is piped", "$RUN -t i sh -c 'test -t 1 && echo terminal' | od -An -c | tr -d ' '", "terminal\\r\\n\n"),
    (
        "a 32-bit program under the default profile",
        "$RUN i /i386; echo $?",
        "0\n",
    ),
    (
        "a pod with a user namespace",
        "$P pod create --name q --network none --cgroup-parent $PARENT --uidmap 0:100000:1000 --infra-image i \\
           --infra-command 'sleep 100' >/dev/null
         $P run --rm --pod q i sh -c 'id -u; cat /proc/self/uid_map' | tr -s ' '
         # Podman's own cleanup may still be unmounting what it shares among the pod.
         $P pod rm -f -t 0 q >/dev/null 2>&1 || $P pod rm -f -t 0 q >/dev/null",
        "0\n 0 100000 1000\n",
    ),
    (
        "build",
        "printf 'FROM localhost/i\\nRUN id -u > /built\\n' > $DIR/Dockerfile
         $P build --runtime $RUNTIME_NAME --network none --isolation oci --ulimit nofile=1024:1024 --ulimit nproc=4000:4000 \\
           -q -t built $DIR >/dev/null 2>&1; $RUN localhost/built cat /built",
        "0\n",
    ),
];

fn missing() -> Option<String> {
    let programs = ["podman", "conmon", "runc", "unshare", "ip", "tar", "od"];
    let absent = programs.into_iter().find(|name| runtime::process::in_path(name).is_none());
    match (absent, busybox()) {
        (Some(name), _) => Some(format!("needs {name}")),
        (None, None) => Some("needs a static busybox".into()),
        (None, Some(_)) => None,
    }
}

fn busybox() -> Option<&'static Path> {
    ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists())
}

/// Makes an image's root file system as an archive.
fn archive(dir: &Path) -> PathBuf {
    let root = dir.join("root");
    for sub in ["bin", "etc", "tmp", "m", "t"] {
        fs::create_dir_all(root.join(sub)).unwrap();
    }
    fs::copy(busybox().unwrap(), root.join("bin/busybox")).unwrap();
    for applet in ["sh", "id", "cat", "touch", "sleep", "ls", "true", "echo", "test"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/name"), "base\n").unwrap();
    // access(path, F_OK) of the program's own text.
    write_call(&root.join("i386"), Abi::I386, 33, [TEXT, 0, 0], "/");
    let archive = dir.join("root.tar");
    let made = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg(".").status().unwrap();
    assert!(made.success());
    archive
}

/// Removes a group and those below it. Monitors may still be on their way out.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        remove(&entry.path());
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = fs::remove_dir(group) {
        assert!(Instant::now() < deadline, "{}: {error}", group.display());
        std::thread::yield_now();
    }
}

/// What a runtime's containers said in each case.
fn answers(name: &str, runtime: &Path) -> BTreeMap<&'static str, String> {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let at = |sub: &str| dir.path().join(sub).display().to_string();
    let parent = format!("/plim-engines-{name}-{}", std::process::id());
    let config = format!(
        "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=4000:4000\"]\n[engine]\nruntime=\"{name}\"\n\
         cgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\n[engine.runtimes]\n{name}=[\"{}\"]\n",
        runtime.display()
    );
    fs::write(at("containers.conf"), config).unwrap();
    let mut script = format!(
        "ip link set lo up; mount -t tmpfs tmpfs /run\n\
         $P import {} i >/dev/null 2>&1 || exit 9\n",
        archive.display()
    );
    for (number, (_, typed, _)) in CASES.iter().enumerate() {
        script += &format!("({typed}\n) > {}/{number} 2>&1\n", dir.path().display());
        script += "$P rm -fa -t 0 >/dev/null 2>&1\n";
    }
    script += "$P pod rm -fa -t 0 >/dev/null 2>&1; $P system reset -f >/dev/null 2>&1; exit 0\n";
    let podman = format!(
        "podman --root {} --runroot {} --tmpdir {} --storage-driver overlay",
        at("storage"),
        at("runroot"),
        at("tmp")
    );
    let output = Command::new("unshare")
        .args(["-mn", "--propagation", "private", "sh", "-c", &script])
        .env("CONTAINERS_CONF", at("containers.conf"))
        .env("P", &podman)
        .env("RUN", format!("{podman} run --rm --network none --cgroup-parent {parent}"))
        .env("KEEP", format!("{podman} run -d --network none --cgroup-parent {parent}"))
        .env("PARENT", &parent)
        .env("DIR", dir.path())
        .env("RUNTIME_NAME", runtime)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}{}", said(&output), String::from_utf8_lossy(&output.stderr));
    for hierarchy in runtime::cgroup::Layout::detect().unwrap().hierarchies {
        let group = hierarchy.mount_point.join(&parent[1..]);
        // Podman leaves the group of its monitors.
        if group.exists() {
            remove(&group);
        }
    }
    let answer = |number: usize| fs::read_to_string(at(&number.to_string())).unwrap_or_default();
    CASES.iter().enumerate().map(|(number, case)| (case.0, answer(number))).collect()
}

#[test]
fn podman_does_on_it_what_it_does_on_runc() {
    if !is_root() {
        return;
    }
    if let Some(reason) = missing() {
        skip(&reason);
        return;
    }
    let control = answers("runc", &runtime::process::in_path("runc").unwrap());
    let ours = answers("plim", Path::new(RUNTIME));
    let mut wrong = Vec::new();
    for (name, _, expected) in CASES {
        if control[name] != *expected {
            skip(&format!("{name}: runc itself gives {:?}", control[name]));
        } else if ours[name] != *expected {
            wrong.push(format!("{name}: {:?}, expected {expected:?}", ours[name]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
