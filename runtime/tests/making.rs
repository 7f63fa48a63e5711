//! What engines rely on at the edges of a container's making: hooks that hang or talk, namespaces by path, options behind an id.

mod support;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use runtime::process::pidfd;
use support::programs::{write_cat, write_idle};
use support::{Bundle, is_root, said, skip};

const RANGE: u32 = 65_536;

impl Bundle {
    fn rootfs(&self) -> std::path::PathBuf {
        self.dir.path().join("rootfs")
    }

    /// A container whose application waits for ever.
    fn idle() -> Self {
        let mut bundle = Self::new();
        write_idle(&bundle.rootfs().join("idle"));
        bundle.config["process"]["args"] = json!(["/idle"]);
        bundle
    }

    /// A container whose application shows a file.
    fn cat(file: &str) -> Self {
        let mut bundle = Self::new();
        write_cat(&bundle.rootfs().join("cat"), file);
        bundle.config["process"]["args"] = json!(["/cat"]);
        bundle
    }

    /// Lets an id of the host that is root in a user namespace reach the root file system.
    fn open_to(&self, id: u32) {
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(self.rootfs(), Some(id), Some(id)).unwrap();
    }

    fn mapped(mut self, first: u32) -> Self {
        self.open_to(first);
        let map = json!([{"containerID": 0, "hostID": first, "size": RANGE}]);
        self.namespace("user", None);
        self.config["linux"]["uidMappings"] = map.clone();
        self.config["linux"]["gidMappings"] = map;
        self
    }

    /// Adds or replaces a namespace.
    fn namespace(&mut self, kind: &str, path: Option<&Path>) {
        let all = self.config["linux"]["namespaces"].as_array_mut().unwrap();
        all.retain(|one| one["type"] != kind);
        all.push(match path {
            Some(path) => json!({"type": kind, "path": path}),
            None => json!({"type": kind}),
        });
    }

    fn starts(&self) -> i64 {
        let output = self.call(&["run", "--detach", &self.id()]);
        assert!(output.status.success(), "{}", said(&output));
        let state: Value = serde_json::from_slice(&self.call(&["state", &self.id()]).stdout).unwrap();
        state["pid"].as_i64().unwrap()
    }

    fn shows(&self) -> String {
        let output = self.call(&["run", &self.id()]);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    fn delete(&self) {
        let output = self.call(&["delete", "--force", &self.id()]);
        assert!(output.status.success(), "{}", said(&output));
        self.nothing_is_left();
    }
}

/// Opens a FIFO that a hook writes its PID to, and waits for it.
fn hook_that_hangs(bundle: &mut Bundle, point: &str) -> std::path::PathBuf {
    let fifo = bundle.dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Its PID as the host sees it: a hook of the container's namespaces has another one of its own.
    let script = format!("cut -d' ' -f1 /proc/self/stat > {0}; exec sleep 1000", fifo.display());
    bundle.config["hooks"] = json!({point: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    fifo
}

#[test]
fn a_hook_that_hangs_can_be_interrupted_and_nothing_is_left() {
    if !is_root() {
        return;
    }
    for (words, point) in [
        (&["create"][..], "createRuntime"),
        (&["run"], "createRuntime"),
        (&["run", "--detach"], "prestart"),
        (&["create"], "createContainer"),
        (&["run"], "createContainer"),
        (&["run"], "poststart"),
        (&["run", "--detach"], "poststart"),
    ] {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut bundle = Bundle::idle();
            let fifo = hook_that_hangs(&mut bundle, point);
            let mut runtime = bundle.command(&[words, &[&bundle.id()]].concat()).spawn().unwrap();
            // The hook runs once it has opened the other end.
            fs::read_to_string(&fifo).unwrap();
            let process = pidfd::open(runtime.id().cast_signed()).unwrap();
            kill(Pid::from_raw(runtime.id().cast_signed()), signal).unwrap();
            let ended = pidfd::wait_exit(process.as_fd(), std::time::Duration::from_secs(20)).unwrap();
            if !ended {
                runtime.kill().unwrap();
            }
            let status = runtime.wait().unwrap();
            let text = fs::read_to_string(bundle.out()).unwrap();
            assert!(ended, "{words:?} {point} {signal}: it hangs: {text}");
            assert_eq!(status.code(), Some(1), "{words:?} {point} {signal}: {text}");
            assert!(text.contains(&format!("interrupted by {signal}")), "{words:?} {point}: {text}");
            bundle.nothing_is_left();
        }
    }
}

#[test]
fn a_hook_after_the_end_that_hangs_can_be_interrupted() {
    if !is_root() {
        return;
    }
    let mut bundle = Bundle::new();
    let fifo = hook_that_hangs(&mut bundle, "poststop");
    let mut runtime = bundle.command(&["run", &bundle.id()]).spawn().unwrap();
    fs::read_to_string(&fifo).unwrap();
    kill(Pid::from_raw(runtime.id().cast_signed()), Signal::SIGTERM).unwrap();
    // What follows the end decides nothing: a warning.
    assert!(runtime.wait().unwrap().success());
    let text = fs::read_to_string(bundle.out()).unwrap();
    assert!(text.contains("poststop[0]") && text.contains("interrupted by SIGTERM"), "{text}");
    bundle.nothing_is_left();
}

#[test]
fn hooks_inherit_no_blocked_signals() {
    if !is_root() {
        return;
    }
    let mask = |words: &[&str]| {
        let mut bundle = Bundle::new();
        let file = bundle.dir.path().join("mask");
        let script = format!("grep SigBlk /proc/self/status > {}", file.display());
        bundle.config["hooks"] =
            json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
        let output = bundle.call(&[words, &[&bundle.id()]].concat());
        assert!(output.status.success(), "{}", said(&output));
        let mask = fs::read_to_string(file).unwrap();
        bundle.delete_if_there();
        mask.split_whitespace().last().unwrap().to_owned()
    };
    for words in [&["run"][..], &["run", "--detach"], &["create"]] {
        assert_eq!(mask(words), "0000000000000000", "{words:?}");
    }
}

impl Bundle {
    fn delete_if_there(&self) {
        self.call(&["delete", "--force", &self.id()]);
        self.nothing_is_left();
    }
}

#[test]
fn output_of_a_hook_does_not_go_into_what_the_container_has_at_dev_null() {
    if !is_root() {
        return;
    }
    let mut bundle = Bundle::new();
    let dev = bundle.dir.path().join("dev");
    fs::create_dir(&dev).unwrap();
    fs::write(dev.join("null"), "").unwrap();
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    mounts.push(json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["bind"]}));
    bundle.config["linux"]["maskedPaths"] = json!([]);
    bundle.config["hooks"] = json!({"startContainer": [{"path": "/app", "args": ["app", "features"]}]});
    assert!(bundle.shows().contains("plim-runtime version"));
    assert_eq!(fs::read_to_string(dev.join("null")).unwrap(), "");
    bundle.nothing_is_left();
}

#[test]
fn a_user_namespace_is_joined_by_path_while_others_are_made() {
    if !is_root() {
        return;
    }
    let first = 200_000;
    let owner = Bundle::idle().mapped(first);
    let pid = owner.starts();
    let ns = |kind: &str| std::path::PathBuf::from(format!("/proc/{pid}/ns/{kind}"));
    let map = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let expected = ["0", &first.to_string(), &RANGE.to_string()].map(str::to_owned);
    let joined = |file: &str, kinds: &[&str]| {
        let mut bundle = Bundle::cat(file);
        bundle.open_to(first);
        bundle.namespace("user", Some(&ns("user")));
        for kind in kinds {
            let name = if *kind == "network" { "net" } else { kind };
            bundle.namespace(kind, Some(&ns(name)));
        }
        bundle
    };
    // All the others are made, some are joined, or all that a pod shares.
    for kinds in
        [&[][..], &["network"], &["network", "ipc", "uts"], &["pid"], &["pid", "network", "ipc", "uts"]]
    {
        let mut bundle = joined("/proc/self/uid_map", kinds);
        if kinds.contains(&"uts") {
            bundle.config["hostname"] = Value::Null;
        }
        bundle.config["process"]["oomScoreAdj"] = json!(300);
        assert_eq!(map(bundle.shows()), expected, "{kinds:?}");
        bundle.nothing_is_left();
    }
    // Files of a directory that only the host's root may enter, and a parameter of the new network namespace.
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("file"), "shown").unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut bundle = joined("/shown", &[]);
    let mount = json!({"destination": "/shown", "type": "bind", "source": secret.path().join("file"),
        "options": ["bind", "ro"]});
    bundle.config["mounts"].as_array_mut().unwrap().push(mount);
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "7"});
    assert_eq!(bundle.shows(), "shown");
    bundle.nothing_is_left();
    // It has groups and limits like any other, and can be entered.
    let mut bundle = joined("/proc/self/uid_map", &[]);
    write_idle(&bundle.rootfs().join("idle"));
    bundle.config["process"]["args"] = json!(["/idle"]);
    bundle.config["linux"]["resources"]["pids"] = json!({"limit": 20});
    let inside = bundle.starts();
    let groups = fs::read_to_string(format!("/proc/{inside}/cgroup")).unwrap();
    assert!(groups.contains(&format!("plim-test-{}", bundle.id())), "{groups}");
    let output = bundle.call(&["exec", &bundle.id(), "/cat"]);
    assert_eq!(map(said(&output)), expected);
    bundle.delete();
    owner.delete();
}

#[test]
fn a_new_user_namespace_goes_with_a_network_of_the_host_that_is_named_by_path() {
    if !is_root() {
        return;
    }
    // A network namespace that the host's root owns, as an engine makes it before.
    let owner = Bundle::idle();
    let pid = owner.starts();
    let mut bundle = Bundle::cat("/proc/self/uid_map").mapped(300_000);
    bundle.namespace("network", Some(Path::new(&format!("/proc/{pid}/ns/net"))));
    // sysfs belongs to the network namespace, and cannot be mounted by another user namespace.
    bundle.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs");
    assert!(bundle.shows().contains("300000"));
    bundle.nothing_is_left();
    owner.delete();
}

#[test]
fn message_queues_belong_to_root_of_the_user_namespace() {
    if !is_root() {
        return;
    }
    let first = 100_000;
    let mut bundle = Bundle::idle().mapped(first);
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["type"] != "mqueue");
    mounts.push(json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}));
    let pid = bundle.starts();
    let queues = fs::metadata(format!("/proc/{pid}/root/dev/mqueue")).unwrap();
    assert_eq!((queues.uid(), queues.gid()), (first, first));
    bundle.delete();
}

#[test]
fn a_score_can_be_lowered_in_a_user_namespace_by_who_may_lower_it_outside() {
    if !is_root() {
        return;
    }
    let may = fs::read_to_string("/proc/self/status").unwrap();
    let may = may.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    // CAP_SYS_RESOURCE is number 24.
    if u64::from_str_radix(may, 16).unwrap() & (1 << 24) == 0 {
        skip("needs CAP_SYS_RESOURCE");
        return;
    }
    let mut bundle = Bundle::cat("/proc/self/oom_score_adj").mapped(100_000);
    bundle.config["process"]["oomScoreAdj"] = json!(-300);
    assert_eq!(bundle.shows(), "-300\n");
    bundle.nothing_is_left();
}

#[test]
fn a_terminal_needs_no_console_in_a_dev_of_the_host_and_makes_none_there() {
    if !is_root() {
        return;
    }
    for has_console in [false, true] {
        let mut bundle = Bundle::new();
        let dev = bundle.dir.path().join("dev");
        fs::create_dir_all(dev.join("pts")).unwrap();
        if has_console {
            fs::write(dev.join("console"), "host").unwrap();
        }
        let before = fs::read_dir(&dev).unwrap().count();
        let mounts = bundle.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        mounts.push(json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["bind"]}));
        mounts.push(json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666"]}));
        bundle.config["linux"]["maskedPaths"] = json!([]);
        bundle.config["process"]["terminal"] = json!(true);
        assert!(bundle.shows().contains("plim-runtime version"), "{has_console}");
        assert_eq!(fs::read_dir(&dev).unwrap().count(), before, "{has_console}");
        if has_console {
            assert_eq!(fs::read_to_string(dev.join("console")).unwrap(), "host");
        }
        bundle.nothing_is_left();
    }
}

#[test]
fn what_stands_behind_the_id_belongs_to_the_program() {
    if !is_root() {
        return;
    }
    let bundle = Bundle::idle();
    bundle.starts();
    let id = bundle.id();
    for (words, expected) in [
        (&["/app", "--help"][..], "Usage: app [OPTIONS] [COMMAND]"),
        (&["/app", "--version"], "plim-runtime version"),
        (&["/app", "exec", "--help"], "plim-runtime exec [OPTIONS]"),
        (&["--help"], "\"--help\""),
        (&["--tty"], "\"--tty\""),
        (&["-v"], "\"-v\""),
        (&["--debug"], "\"--debug\""),
        (&["--no-such-option"], "\"--no-such-option\""),
    ] {
        let output = bundle.call(&[&["exec", &id], words].concat());
        let text = said(&output);
        assert!(text.contains(expected), "{words:?}: {text}");
        // A name that no program has is an error that tells the name.
        assert_eq!(output.status.success(), words[0] == "/app", "{words:?}: {text}");
    }
    // Before it, they are the command's.
    let output = bundle.call(&["exec", "--no-such-option", &id, "/app"]);
    assert!(!output.status.success() && said(&output).contains("--no-such-option"), "{}", said(&output));
    assert!(said(&bundle.call(&["exec", "--help"])).contains("exec [OPTIONS] <CONTAINER-ID> [COMMAND]..."));
    bundle.delete();
}
