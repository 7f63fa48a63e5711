//! The command `plim-runtime`, started as engines start it.

mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::{Bundle, RUNTIME, is_root, said, skip};

#[test]
fn run_gives_the_applications_output_and_status() {
    if !is_root() {
        return;
    }
    let mut bundle = Bundle::new();
    let output = bundle.call(&["run", &bundle.id()]);
    assert!(output.status.success() && said(&output).contains("plim-runtime version"), "{}", said(&output));
    bundle.config["process"]["args"] = json!(["/app", "state", "nobody"]);
    let output = bundle.call(&["run", &bundle.id()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    bundle.nothing_is_left();
}

#[test]
fn a_fifo_that_nobody_reads_can_be_waited_for_no_longer_than_one_wants() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new();
    let fifo = bundle.dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for words in [&["create"][..], &["run"], &["run", "--detach"]] {
        let id = bundle.id();
        let mut child = bundle.command(&[words, &["--pid-file", "fifo", &id]].concat()).spawn().unwrap();
        let call = format!("/proc/{}/syscall", child.id());
        let opens = format!("{} ", libc::SYS_openat);
        // It has opened all else, and waits for a reader.
        let waits = || fs::read_to_string(&call).is_ok_and(|call| call.starts_with(&opens));
        let end = Instant::now() + Duration::from_secs(30);
        while !(waits() && fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") S "))
        {
            assert!(
                child.try_wait().unwrap().is_none() && Instant::now() < end,
                "{words:?}: it does not wait"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("{words:?}: SIGTERM does not end it");
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(!status.success(), "{words:?}");
        bundle.nothing_is_left();
    }
}

#[test]
fn the_lifecycle_goes_by_its_states() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new();
    let id = bundle.id();
    let status = || {
        let state: Value = serde_json::from_slice(&bundle.call(&["state", &id]).stdout).unwrap();
        state["status"].as_str().unwrap().to_owned()
    };
    assert!(bundle.call(&["create", &id]).status.success());
    assert_eq!(status(), "created");
    // An id in use, and a step that is not allowed.
    assert!(said(&bundle.call(&["create", &id])).contains("exists already"));
    assert!(said(&bundle.call(&["resume", &id])).contains("must be paused"));
    assert!(bundle.call(&["start", &id]).status.success());
    while status() == "running" {
        std::thread::yield_now();
    }
    assert_eq!(status(), "stopped");
    assert!(said(&bundle.call(&["exec", &id, "/app"])).contains("that is stopped"));
    assert!(said(&bundle.call(&["start", &id])).contains("that is stopped"));
    assert!(bundle.call(&["delete", &id]).status.success());
    assert!(said(&bundle.call(&["delete", &id])).contains("does not exist"));
    bundle.nothing_is_left();
}

#[test]
fn bad_configurations_name_their_field_and_leave_nothing() {
    if !is_root() {
        return;
    }
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 11] = [
        ("process.args", |c| c["process"]["args"] = json!(["/no/such/app"])),
        ("process.cwd", |c| c["process"]["cwd"] = json!("relative")),
        ("root.path", |c| c["root"]["path"] = json!("nowhere")),
        ("ociVersion", |c| c["ociVersion"] = json!("9.9")),
        ("cpu.cfs_quota_us", |c| c["linux"]["resources"]["cpu"] = json!({"quota": 1, "period": 100_000})),
        ("mounts[7]", |c| {
            let mount =
                json!({"destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"]});
            c["mounts"].as_array_mut().unwrap().push(mount);
        }),
        ("rootfsPropagation", |c| c["linux"]["rootfsPropagation"] = json!("sideways")),
        ("memory.swap", |c| {
            c["linux"]["resources"]["memory"] = json!({"limit": 9_000_000, "swap": 8_000_000});
        }),
        ("RLIMIT_TEA", |c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_TEA", "soft": 1, "hard": 1}])),
        ("hooks.createRuntime[0]", |c| c["hooks"] = json!({"createRuntime": [{"path": "/no/such/hook"}]})),
        ("cgroupsPath", |c| c["linux"]["cgroupsPath"] = json!("/../..")),
    ];
    for (expected, change) in cases {
        let mut bundle = Bundle::new();
        change(&mut bundle.config);
        let output = bundle.call(&["run", &bundle.id()]);
        assert_eq!(output.status.code(), Some(1), "{expected}: {}", said(&output));
        // On v2 the quota's file has another name.
        let alternative = if expected == "cpu.cfs_quota_us" { "cpu.max" } else { expected };
        assert!(said(&output).contains(expected) || said(&output).contains(alternative), "{}", said(&output));
        bundle.nothing_is_left();
    }
}

#[test]
fn bad_words_are_refused() {
    let bundle = Bundle::new();
    for (arguments, expected) in [
        (vec!["state", "nobody"], "does not exist"),
        (vec!["run", "a/b"], "invalid container id"),
        (vec!["run", "--bundle", "/no/such/bundle", "x"], "/no/such/bundle"),
        (vec!["kill", "nobody", "SIGTEA"], "SIGTEA"),
        (vec!["--systemd-cgroup", "list"], "cgroupfs"),
    ] {
        let output = bundle.call(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn errors_go_to_the_log_as_json() {
    let bundle = Bundle::new();
    let log = bundle.dir.path().join("log");
    bundle.call(&["--log", log.to_str().unwrap(), "--log-format", "json", "state", "nobody"]);
    let line: Value = serde_json::from_str(fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().unwrap().contains("nobody"));
}

/// Runs a bundle in a mount namespace in which a shell command changed the cgroup mounts.
fn run_after(bundle: &Bundle, change: &str) -> String {
    fs::write(bundle.dir.path().join("config.json"), bundle.config.to_string()).unwrap();
    let root = bundle.dir.path().join("state");
    let script = format!("{change} && exec {RUNTIME} --root {} run {}", root.display(), bundle.id());
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script])
        .current_dir(bundle.dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn cgroup_mounts_that_cannot_be_used_are_named_with_the_remedy() {
    if !is_root() {
        return;
    }
    let layout = runtime::cgroup::Layout::detect().unwrap();
    let Some(pids) = layout.owner("pids") else {
        skip("no pids controller");
        return;
    };
    let mount = pids.mount_point.display();
    let mut bundle = Bundle::new();
    bundle.config["linux"]["resources"]["pids"] = json!({"limit": 32});
    let said = run_after(&bundle, &format!("mount -o remount,ro,bind {mount}"));
    assert!(said.contains("Read-only") && said.contains("writable"), "{said}");
    bundle.nothing_is_left();
    let said = run_after(&bundle, &format!("umount {mount}"));
    let expected = if layout.hierarchies.len() > 1 { "linux.resources.pids" } else { "no cgroup hierarchy" };
    assert!(said.contains(expected), "{said}");
    bundle.nothing_is_left();
}

#[test]
fn without_root_the_missing_right_is_named() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::new();
    fs::write(bundle.dir.path().join("config.json"), bundle.config.to_string()).unwrap();
    // Readable and executable for everybody, which the build directory need not be.
    let program = bundle.dir.path().join("plim-runtime");
    // By another process: of one that this program writes to, a copy that another test makes of it keeps the file open.
    assert!(Command::new("cp").arg(RUNTIME).arg(&program).status().unwrap().success());
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(bundle.dir.path(), open).unwrap();
    let mut command = Command::new(&program);
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    command
        .arg("--root")
        .arg(bundle.dir.path().join("state"))
        .args(["run", &bundle.id()])
        .current_dir(bundle.dir.path())
        .stdin(Stdio::null());
    let output = loop {
        match command.output() {
            // A process that another test forked while the copy was made has it open until it executes a program.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            done => break done.unwrap(),
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("root"), "{said}");
    bundle.nothing_is_left();
}

#[test]
fn outputs_go_through_devices_and_streams_that_fail_are_errors() {
    use std::os::unix::fs::FileTypeExt;
    if !is_root() {
        return;
    }
    let bundle = Bundle::new();
    let link = bundle.dir.path().join("null");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    for to in ["/dev/null", link.to_str().unwrap()] {
        let output = bundle.call(&["--log", to, "run", "--pid-file", to, &bundle.id()]);
        assert!(output.status.success(), "{}", said(&output));
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let bad = bundle.dir.path().join("absent/file").display().to_string();
    for words in [&["run", "--pid-file", &bad, &bundle.id()][..], &["--log", &bad, "run", &bundle.id()]] {
        let output = bundle.call(words);
        assert!(!output.status.success() && said(&output).contains(&bad), "{}", said(&output));
        assert!(!said(&output).contains("plim-runtime version"), "it ran: {}", said(&output));
    }
    bundle.nothing_is_left();
    for words in [&["list"][..], &["list", "--format", "json"], &["features"], &["--version"], &["--help"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(RUNTIME).args(words).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {told}");
        assert!(told.contains("No space left on device") && !told.contains("panicked"), "{words:?}: {told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(RUNTIME).args(words).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{words:?}");
    }
}

#[test]
fn errors_carry_the_words_by_which_engines_know_them() {
    if !is_root() {
        return;
    }
    let mut bundle = Bundle::new();
    let rootfs = bundle.dir.path().join("rootfs");
    fs::create_dir_all(rootfs.join("dir")).unwrap();
    for (name, text) in [("orphan", "#!/no/such/interpreter\n"), ("garbage", "\0\0\0"), ("plain", "x")] {
        fs::write(rootfs.join(name), text).unwrap();
        let mode = if name == "plain" { 0o644 } else { 0o755 };
        fs::set_permissions(rootfs.join(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    for (program, words) in [
        ("/dir", &["is a directory", "permission denied"][..]),
        ("/plain", &["permission denied"]),
        ("/absent", &["no such file or directory"]),
        ("/orphan", &["no such file or directory"]),
        ("/garbage", &["exec format error", "permission denied"]),
        ("absent", &["executable file not found in $PATH"]),
    ] {
        bundle.config["process"]["args"] = json!([program]);
        let output = bundle.call(&["run", &bundle.id()]);
        assert!(!output.status.success(), "{program}");
        for word in words.iter().chain([&program]) {
            assert!(said(&output).contains(word), "{program}: '{word}' is missing: {}", said(&output));
        }
    }
    bundle.config["process"]["args"] = json!(["/app", "--version"]);
    let id = bundle.id();
    assert!(bundle.call(&["create", &id]).status.success());
    assert!(bundle.call(&["start", &id]).status.success());
    while !said(&bundle.call(&["state", &id])).contains("stopped") {
        std::thread::yield_now();
    }
    assert!(said(&bundle.call(&["kill", &id])).contains("container not running"));
    assert!(bundle.call(&["delete", &id]).status.success());
    bundle.nothing_is_left();
}
