//! What engines ask of the processes of a container, seen from inside and by the program's answers.

mod support;

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Output;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use support::programs::{Abi, TEXT, write_call, write_cat, write_idle};
use support::{Bundle, is_root, said, skip};

impl Bundle {
    fn program(&self, name: &str) -> PathBuf {
        self.dir.path().join("rootfs").join(name)
    }

    fn arguments(&mut self, words: &[&str]) {
        self.config["process"]["args"] = json!(words);
    }

    /// Calls a command on the container.
    fn on(&self, command: &[&str], rest: &[&str]) -> Output {
        let id = self.id();
        self.call(&[command, &[&id], rest].concat())
    }

    fn run(&self) -> (i32, String) {
        let output = self.on(&["run"], &[]);
        (output.status.code().unwrap(), said(&output))
    }

    /// Starts a container that waits.
    fn idle(&mut self) {
        write_idle(&self.program("idle"));
        self.arguments(&["/idle"]);
        let output = self.on(&["run", "--detach"], &[]);
        assert!(output.status.success(), "{}", said(&output));
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&self.on(&["state"], &[]).stdout).unwrap()
    }

    fn wait_stopped(&self) {
        while self.state()["status"] != "stopped" {
            std::thread::yield_now();
        }
    }

    fn delete(&self) {
        let output = self.on(&["delete", "--force"], &[]);
        assert!(output.status.success(), "{}", said(&output));
        self.nothing_is_left();
    }

    /// A shell command of the host as a hook.
    fn hook(script: &str) -> Value {
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    }
}

fn can_try() -> bool {
    if !cfg!(target_arch = "x86_64") {
        skip("programs for x86");
        return false;
    }
    is_root()
}

#[test]
fn every_signal_is_delivered_by_name_and_number() {
    if !can_try() {
        return;
    }
    for (signal, delivered) in [("37", 37), ("RTMIN+3", 37), ("SIGRTMAX", 64), ("term", 15)] {
        let mut bundle = Bundle::new();
        // The first process of a PID namespace would not be ended by a signal that it has no handler for.
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "pid");
        bundle.idle();
        // 0 asks whether it could be signalled.
        assert!(bundle.on(&["kill"], &["0"]).status.success());
        assert_eq!(bundle.state()["status"], "running");
        let ends = pidfd(&bundle);
        let output = bundle.on(&["kill"], &[signal]);
        assert!(output.status.success(), "{signal}: {}", said(&output));
        if !runtime::process::pidfd::wait_exit(ends.as_fd(), std::time::Duration::from_secs(5)).unwrap() {
            panic!("{signal} ({delivered}) was not delivered");
        }
        assert!(said(&bundle.on(&["kill"], &["0"])).contains("that is stopped"));
        bundle.delete();
    }
}

fn pidfd(bundle: &Bundle) -> std::os::fd::OwnedFd {
    let pid = i32::try_from(bundle.state()["pid"].as_i64().unwrap()).unwrap();
    runtime::process::pidfd::open(pid).unwrap()
}

#[test]
fn exec_replaces_variables_and_makes_no_directory() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::new();
    write_cat(&bundle.program("environ"), "/proc/self/environ");
    bundle.config["process"]["env"] = json!(["PATH=/", "MY=config", "HOME="]);
    bundle.idle();
    let output = bundle.on(&["exec", "--env=MY=cli"], &["/environ"]);
    let env: Vec<String> = said(&output).split_terminator('\0').map(str::to_owned).collect();
    assert_eq!(env, ["PATH=/", "MY=cli", "HOME=/"], "{output:?}");
    let output = bundle.on(&["exec", "--cwd=/no/such"], &["/environ"]);
    assert_eq!(output.status.code(), Some(255), "{}", said(&output));
    assert!(
        said(&output).contains("/no/such") && said(&output).contains("No such file"),
        "{}",
        said(&output)
    );
    assert!(!bundle.program("no").exists());
    bundle.delete();
    // A first process's is made, under a root that is read-only afterwards too.
    for read_only in [false, true] {
        let mut bundle = Bundle::new();
        write_cat(&bundle.program("app"), "/proc/self/status");
        bundle.arguments(&["/app"]);
        bundle.config["root"]["readonly"] = json!(read_only);
        bundle.config["process"]["cwd"] = json!("/made/here");
        let (status, said) = bundle.run();
        assert!(status == 0 && bundle.program("made/here").is_dir(), "{said}");
    }
}

#[test]
fn hooks_decide_as_the_specification_says() {
    if !can_try() {
        return;
    }
    // Before the start: an error, and nothing is left; those that follow a container's end run all the same.
    for point in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let mut bundle = Bundle::new();
        bundle.arguments(&["/idle"]);
        write_idle(&bundle.program("idle"));
        if point == "startContainer" {
            write_call(&bundle.program("bad"), Abi::X86_64, 511, [0; 3], "");
            bundle.config["hooks"][point] = json!([{"path": "/bad"}]);
        } else {
            bundle.config["hooks"][point] = Bundle::hook("echo no >&2; exit 3");
        }
        let mark = bundle.dir.path().join("mark");
        bundle.config["hooks"]["poststop"] = Bundle::hook(&format!("cat > {}", mark.display()));
        let output = bundle.on(&["run", "--detach"], &[]);
        assert_eq!(output.status.code(), Some(1), "{point}: {}", said(&output));
        assert!(said(&output).contains(&format!("hooks.{point}[0]")), "{point}: {}", said(&output));
        let state: Value = serde_json::from_slice(&fs::read(&mark).unwrap_or_default())
            .unwrap_or_else(|error| panic!("{point}: no hook ran after the end: {error}"));
        assert_eq!(state["status"], "stopped", "{point}");
        bundle.nothing_is_left();
    }
    // `start` stops a container whose hook fails after the start, and leaves it to be deleted.
    let mut bundle = Bundle::new();
    write_idle(&bundle.program("idle"));
    bundle.arguments(&["/idle"]);
    bundle.config["hooks"]["poststart"] = Bundle::hook("exit 1");
    assert!(bundle.on(&["create"], &[]).status.success());
    assert!(said(&bundle.on(&["start"], &[])).contains("poststart[0]"));
    assert_eq!(bundle.state()["status"], "stopped");
    // After the end: a warning, and all of them run.
    let mut bundle = bundle;
    let mark = bundle.dir.path().join("mark");
    let hook = |script: String| json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    bundle.delete();
    bundle.config["hooks"] =
        json!({"poststop": [hook("exit 1".into()), hook(format!(": > {}", mark.display()))]});
    bundle.idle();
    let output = bundle.on(&["delete", "--force"], &[]);
    assert!(output.status.success() && said(&output).contains("poststop[0]"), "{}", said(&output));
    assert!(mark.exists());
    bundle.nothing_is_left();
}

#[test]
fn hooks_know_where_they_are() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::new();
    write_idle(&bundle.program("idle"));
    bundle.arguments(&["/idle"]);
    bundle.config["process"]["env"] = json!(["PATH=/usr/bin:/bin:/of-the-container"]);
    let file = |name: &str| bundle.dir.path().join(name);
    let write =
        |name: &str| Bundle::hook(&format!("(cat; echo; pwd; echo $PATH) > {}", file(name).display()));
    let (inside, outside) = (write("inside"), write("outside"));
    bundle.config["hooks"] = json!({"createContainer": inside, "createRuntime": outside});
    bundle.idle();
    let told = |name: &str| -> (Value, String, String) {
        let text = fs::read_to_string(bundle.dir.path().join(name)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        (serde_json::from_str(lines[0]).unwrap(), lines[1].to_owned(), lines[2].to_owned())
    };
    let (state, dir, path) = told("inside");
    assert_eq!((state["pid"].as_i64(), &state["status"]), (Some(1), &json!("creating")));
    assert_eq!(PathBuf::from(dir), bundle.dir.path().join("rootfs"));
    assert!(path.ends_with("/of-the-container"), "{path}");
    let (state, _, path) = told("outside");
    assert_eq!(state["pid"], bundle.state()["pid"]);
    assert_eq!(path, std::env::var("PATH").unwrap());
    bundle.delete();
}

#[test]
fn a_process_runs_on_the_terms_that_were_asked_for() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::new();
    write_cat(&bundle.program("app"), "/proc/self/stat");
    bundle.arguments(&["/app"]);
    bundle.config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
    bundle.config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    bundle.config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
    bundle.config["process"]["oomScoreAdj"] = json!(77);
    let (status, stat) = bundle.run();
    assert_eq!(status, 0, "{stat}");
    // After the name: state is field 3, nice 19, policy 41.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!((fields[16], fields[38]), ("5", "3"), "{stat}");
    // personality(0xffffffff) shows the one in force: PER_LINUX32 ends the program as an error number would not.
    let shown = |bundle: &Bundle| {
        write_cat(&bundle.program("app"), "/proc/self/personality");
        bundle.run().1.trim().to_owned()
    };
    bundle.config["linux"]["personality"] = json!({"domain": "LINUX32"});
    assert_eq!(shown(&bundle), "00000008");
    bundle.config["linux"]["personality"] = json!({"domain": "LINUX"});
    assert_eq!(shown(&bundle), "00000000");
    bundle.nothing_is_left();
    for (field, part, value) in [
        ("process.scheduler", "process", json!({"scheduler": {"policy": "SCHED_TEA"}})),
        ("process.ioPriority", "process", json!({"ioPriority": {"class": "IOPRIO_CLASS_TEA"}})),
        ("process.execCPUAffinity", "process", json!({"execCPUAffinity": {"initial": "x"}})),
        ("linux.personality", "linux", json!({"personality": {"domain": "SOLARIS"}})),
        ("linux.memoryPolicy", "linux", json!({"memoryPolicy": {"mode": "MPOL_TEA"}})),
        ("linux.intelRdt", "linux", json!({"intelRdt": {"closID": "x"}})),
        ("hooks.poststop[0].timeout", "hooks", json!({"poststop": [{"path": "/x", "timeout": 0}]})),
    ] {
        let mut bundle = Bundle::new();
        let (key, inner) = value.as_object().unwrap().iter().next().unwrap();
        bundle.config[part][key] = inner.clone();
        let (status, said) = bundle.run();
        assert!(status == 1 && said.contains(field), "{field}: {said}");
    }
}

#[test]
fn exec_runs_on_the_cpus_that_were_asked_for() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::new();
    write_cat(&bundle.program("status"), "/proc/self/status");
    bundle.config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    bundle.idle();
    let status = said(&bundle.on(&["exec"], &["/status"]));
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
    assert_eq!(allowed, Some("0"), "{status}");
    bundle.delete();
}

#[test]
fn a_score_can_be_raised_in_a_user_namespace() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::new();
    let open: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bundle.dir.path(), open).unwrap();
    write_cat(&bundle.program("app"), "/proc/self/oom_score_adj");
    bundle.arguments(&["/app"]);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    bundle.config["process"]["oomScoreAdj"] = json!(321);
    std::os::unix::fs::chown(bundle.dir.path().join("rootfs"), Some(100_000), Some(100_000)).unwrap();
    assert_eq!(bundle.run(), (0, "321\n".to_owned()));
    bundle.nothing_is_left();
}

#[test]
fn limits_change_all_or_none_and_zeros_ask_for_nothing() {
    if !can_try() {
        return;
    }
    let layout = runtime::cgroup::Layout::detect().unwrap();
    let Some(pids) = layout.owner("pids").filter(|_| layout.owner("cpu").is_some()) else {
        skip("no pids and cpu controllers");
        return;
    };
    let mut bundle = Bundle::new();
    bundle.config["linux"]["resources"]["pids"] = json!({"limit": 50});
    bundle.idle();
    let dir = pids.mount_point.join(format!("plim-test-{}", bundle.id()));
    let limit = || fs::read_to_string(dir.join("pids.max")).unwrap().trim().to_owned();
    let update = |value: Value| {
        fs::write(bundle.dir.path().join("update.json"), value.to_string()).unwrap();
        bundle.on(&["update", "--resources=update.json"], &[])
    };
    // What Docker sends for `update --cpu-shares 300`.
    let output = update(json!({
        "cpu": {"shares": 300, "quota": 0, "period": 0, "cpus": "", "mems": ""},
        "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0},
        "blockIO": {"weight": 0},
        "pids": {"limit": 60},
    }));
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(limit(), "60");
    let output = update(json!({"pids": {"limit": 70}, "cpu": {"quota": 1, "period": 100_000}}));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(limit(), "60", "{}", said(&output));
    if layout.owner("memory").is_some() {
        assert!(bundle.on(&["update", "--memory=50M"], &[]).status.success());
    }
    assert!(said(&bundle.on(&["update", "--memory=lots"], &[])).contains("invalid size"));
    bundle.delete();
}

#[test]
fn a_frozen_group_is_refused_at_once() {
    if !can_try() {
        return;
    }
    let layout = runtime::cgroup::Layout::detect().unwrap();
    let Some(freezer) = layout.owner("freezer").or(layout.v2()) else {
        skip("no freezer");
        return;
    };
    let bundle = Bundle::new();
    let dir = freezer.mount_point.join(format!("plim-test-{}", bundle.id()));
    fs::create_dir(&dir).unwrap();
    let (file, value) =
        if dir.join("cgroup.freeze").exists() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
    fs::write(dir.join(file), value).unwrap();
    let before = std::time::Instant::now();
    let (status, said) = bundle.run();
    assert!(status == 1 && said.contains("frozen"), "{said}");
    assert!(before.elapsed().as_secs() < 30);
    bundle.nothing_is_left();
}

/// What came over a socket: the text, and the descriptor.
fn receive(listener: &UnixListener) -> (String, std::os::fd::OwnedFd) {
    let (mut socket, _) = listener.accept().unwrap();
    let mut first = [0; 4096];
    let mut payload = [std::io::IoSliceMut::new(&mut first)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut payload, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
            .unwrap();
    let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
        panic!("no descriptor")
    };
    // SAFETY: the kernel just installed this descriptor for us, and nobody else owns it.
    let fd = unsafe { std::os::fd::OwnedFd::from_raw_fd(fds[0]) };
    let length = message.bytes;
    let mut text = String::from_utf8(first[..length].to_vec()).unwrap();
    socket.read_to_string(&mut text).unwrap();
    (text, fd)
}

#[test]
fn a_listener_decides_about_calls() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::new();
    write_call(&bundle.program("app"), Abi::X86_64, 83, [TEXT, 0o755, 0], "/made");
    bundle.arguments(&["/app"]);
    let path = bundle.dir.path().join("agent");
    let agent = UnixListener::bind(&path).unwrap();
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "of the test",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let id = bundle.id();
    let decided = std::thread::spawn(move || {
        let (text, listener) = receive(&agent);
        let state: Value = serde_json::from_str(&text).unwrap();
        refuse_one(&listener, 77);
        state
    });
    let (status, said) = bundle.run();
    assert_eq!(status, 77, "{said}");
    let state = decided.join().unwrap();
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!((&state["metadata"], &state["state"]["id"]), (&json!("of the test"), &json!(id)));
    assert!(state["pid"].as_i64().unwrap() > 1 && state["ociVersion"].is_string());
    bundle.nothing_is_left();
    // Nobody listens.
    fs::remove_file(&path).unwrap();
    let (status, said) = bundle.run();
    assert!(status == 1 && said.contains("listenerPath"), "{said}");
    bundle.nothing_is_left();
}

/// Answers one notification with an error number. Source: seccomp_unotify(2).
fn refuse_one(listener: &std::os::fd::OwnedFd, errno: i32) {
    const RECV: libc::c_ulong = 0xc050_2100;
    const SEND: libc::c_ulong = 0xc018_2101;
    let mut notification = [0_u64; 10];
    // SAFETY: the kernel writes a seccomp_notif of 80 bytes.
    let received = unsafe { libc::ioctl(listener.as_raw_fd(), RECV, notification.as_mut_ptr()) };
    assert_eq!(received, 0, "{}", std::io::Error::last_os_error());
    let mut answer = [0_u8; 24];
    answer[..8].copy_from_slice(&notification[0].to_ne_bytes());
    answer[16..20].copy_from_slice(&(-errno).to_ne_bytes());
    // SAFETY: the kernel reads a seccomp_notif_resp of 24 bytes.
    let sent = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, answer.as_mut_ptr()) };
    assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_pidfd_is_handed_over() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::new();
    write_idle(&bundle.program("idle"));
    bundle.arguments(&["/idle"]);
    let path = bundle.dir.path().join("pidfds");
    let listener = UnixListener::bind(&path).unwrap();
    let option = format!("--pidfd-socket={}", path.display());
    let received = std::thread::spawn(move || [receive(&listener), receive(&listener)]);
    assert!(bundle.on(&["run", "--detach", &option], &[]).status.success());
    assert!(bundle.on(&["exec", "--detach", &option], &["/idle"]).status.success());
    let pid = bundle.state()["pid"].as_i64().unwrap();
    let [(first, pidfd), (second, _)] = received.join().unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("standard", "setns"));
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    assert!(info.contains(&format!("Pid:\t{pid}\n")), "{info}");
    bundle.delete();
}

#[test]
fn lines_of_a_terminal_end_as_they_were_written() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::new();
    write_cat(&bundle.program("app"), "/lines");
    fs::write(bundle.program("lines"), "one\ntwo\n").unwrap();
    bundle.arguments(&["/app"]);
    bundle.config["process"]["terminal"] = json!(true);
    assert_eq!(bundle.run(), (0, "one\ntwo\n".to_owned()));
    bundle.nothing_is_left();
}

#[test]
fn exec_can_join_a_group_below() {
    if !can_try() {
        return;
    }
    let layout = runtime::cgroup::Layout::detect().unwrap();
    let Some(pids) = layout.owner("pids").filter(|pids| pids.version == runtime::cgroup::Version::V1) else {
        skip("no v1 hierarchy with pids");
        return;
    };
    let mut bundle = Bundle::new();
    write_idle(&bundle.program("idle"));
    bundle.idle();
    let dir = pids.mount_point.join(format!("plim-test-{}", bundle.id())).join("below");
    fs::create_dir(&dir).unwrap();
    let output = bundle.on(&["exec", "--detach", "--cgroup=pids:below"], &["/idle"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read_to_string(dir.join("cgroup.procs")).unwrap().lines().count(), 1);
    for wrong in ["pids:../..", "pids:no-such", "tea:below"] {
        let output = bundle.on(&["exec", &format!("--cgroup={wrong}")], &["/idle"]);
        assert!(output.status.code() == Some(255) && said(&output).contains("--cgroup"), "{}", said(&output));
    }
    bundle.delete();
}

#[test]
fn events_tell_what_a_container_uses() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.idle();
    let output = bundle.on(&["events", "--stats"], &[]);
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(bundle.id())));
    assert_eq!(event["data"]["pids"]["current"], 1, "{event}");
    for command in ["checkpoint", "restore"] {
        let output = bundle.on(&[command], &[]);
        assert!(output.status.code() == Some(1) && said(&output).contains("criu"), "{}", said(&output));
    }
    assert_eq!(bundle.state()["status"], "running");
    assert!(bundle.on(&["kill"], &["KILL"]).status.success());
    bundle.wait_stopped();
    assert!(said(&bundle.on(&["events", "--stats"], &[])).contains("not running"));
    bundle.delete();
}

#[test]
fn a_configuration_for_an_ordinary_user_is_written() {
    let bundle = Bundle::new();
    let out = tempfile::tempdir().unwrap();
    let option = format!("--bundle={}", out.path().display());
    assert!(bundle.call(&["spec", "--rootless", &option]).status.success());
    let spec: Value = serde_json::from_slice(&fs::read(out.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(spec["linux"]["uidMappings"][0]["size"], 1);
    let features: Value = serde_json::from_slice(&bundle.call(&["features"]).stdout).unwrap();
    let seccomp = &features["linux"]["seccomp"];
    for list in ["actions", "operators", "archs", "knownFlags", "supportedFlags"] {
        assert!(!seccomp[list].as_array().unwrap().is_empty(), "{list}");
    }
}
