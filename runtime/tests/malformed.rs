//! Configurations that cannot be meant: each is refused before anything is made, and the message names the field.

mod support;

use serde_json::{Value, json};

use support::{Bundle, said};

/// Stands for a field that is not there.
fn absent() -> Value {
    json!("\u{0}absent")
}

/// Sets a field by its path, such as `mounts.0.options`; what is missing on the way is made.
fn set(config: &mut Value, path: &str, value: Value) {
    let (way, last) = path.rsplit_once('.').map_or((None, path), |(way, last)| (Some(way), last));
    let parent =
        way.into_iter().flat_map(|way| way.split('.')).fold(config, |at, step| match step.parse::<usize>() {
            Ok(number) => &mut at[number],
            Err(_) => {
                if at[step].is_null() {
                    at[step] = json!({});
                }
                &mut at[step]
            }
        });
    if value == absent() {
        parent.as_object_mut().unwrap().remove(last);
    } else {
        parent[last] = value;
    }
}

/// Sets fields, and says which one the refusal must name.
type Case = (Vec<(&'static str, Value)>, &'static str);

fn one(path: &'static str, value: Value, named: &'static str) -> Case {
    (vec![(path, value)], named)
}

fn whole() -> Vec<Case> {
    let mount = |mount: Value| json!([mount]);
    vec![
        one("ociVersion", absent(), "ociVersion"),
        one("ociVersion", json!(""), "ociVersion"),
        one("ociVersion", json!("2.0.0"), "ociVersion"),
        one("ociVersion", json!(1), "ociVersion"),
        one("ociVersion", Value::Null, "ociVersion"),
        one("root", absent(), "root"),
        one("root", json!("rootfs"), "root"),
        one("root.path", absent(), "path"),
        one("root.path", json!(""), "root.path"),
        one("root.path", json!("no-such-directory"), "root.path"),
        one("root.path", json!("config.json"), "root.path"),
        one("root.readonly", json!("yes"), "root.readonly"),
        one("hostname", json!(5), "hostname"),
        one("hostname", json!("x".repeat(65)), "hostname"),
        one("annotations", json!({"": "x"}), "annotations"),
        one("annotations", json!({"a": 1}), "annotations"),
        one("mounts", json!({}), "mounts"),
        one("mounts", mount(json!({"type": "tmpfs"})), "destination"),
        one("mounts", mount(json!({"destination": "tmp", "type": "tmpfs"})), "mounts[0].destination"),
        one("mounts", mount(json!({"destination": "/a\u{0}b", "type": "tmpfs"})), "mounts[0].destination"),
        one(
            "mounts",
            mount(json!({"destination": "/a", "source": "/x\u{0}", "type": "bind"})),
            "mounts[0].source",
        ),
        one(
            "mounts",
            mount(json!({"destination": "/a", "type": "tmpfs", "options": "ro"})),
            "mounts[0].options",
        ),
        one(
            "mounts",
            mount(json!({"destination": "/a", "type": "tmpfs", "options": ["a\u{0}"]})),
            "mounts[0]",
        ),
        one("mounts", mount(json!({"destination": "/a", "type": 5})), "mounts[0].type"),
        one(
            "mounts",
            mount(json!({"destination": "/a", "source": "/", "options": ["bind"],
                "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]})),
            "mounts[0]",
        ),
        one(
            "mounts",
            mount(json!({"destination": "/a", "source": "/", "options": ["bind"],
                "uidMappings": [{"containerID": 0, "hostID": 0, "size": 0}],
                "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]})),
            "mounts[0].uidMappings[0].size",
        ),
        one("hooks", json!([]), "hooks"),
        one("hooks", json!({"prestart": {}}), "hooks.prestart"),
        one("hooks", json!({"prestart": [{}]}), "path"),
        one("hooks", json!({"createRuntime": [{"path": "sh"}]}), "hooks.createRuntime[0].path"),
        one("hooks", json!({"poststop": [{"path": "/bin/sh", "timeout": 0}]}), "hooks.poststop[0].timeout"),
        one("hooks", json!({"poststop": [{"path": "/bin/sh", "timeout": -1}]}), "hooks.poststop[0].timeout"),
    ]
}

fn process() -> Vec<Case> {
    let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    vec![
        one("process", absent(), "process"),
        one("process", json!([]), "process"),
        one("process.cwd", absent(), "cwd"),
        one("process.cwd", json!(""), "process.cwd"),
        one("process.cwd", json!("tmp"), "process.cwd"),
        one("process.args", absent(), "process.args"),
        one("process.args", Value::Null, "process.args"),
        one("process.args", json!([]), "process.args"),
        one("process.args", json!("/app"), "process.args"),
        one("process.args", json!(["/app", 1]), "process.args[1]"),
        one("process.env", json!("A=b"), "process.env"),
        one("process.env", json!(["A"]), "process.env[0]"),
        one("process.env", json!(["A=1", "=b"]), "process.env[1]"),
        one("process.terminal", json!("no"), "process.terminal"),
        one("process.terminal", json!(true), "process.terminal"),
        one("process.consoleSize", json!({"height": -1, "width": 1}), "process.consoleSize.height"),
        one("process.noNewPrivileges", json!(1), "process.noNewPrivileges"),
        one("process.user", json!("root"), "process.user"),
        one("process.user.uid", json!(-1), "process.user.uid"),
        one("process.user.uid", json!(1.5), "process.user.uid"),
        one("process.user.uid", json!("0"), "process.user.uid"),
        one("process.user.uid", json!(u32::MAX), "process.user.uid"),
        one("process.user.gid", json!(1_u64 << 32), "process.user.gid"),
        one("process.user.additionalGids", json!([0, -1]), "process.user.additionalGids"),
        one("process.user.umask", json!(0o1000), "process.user.umask"),
        one("process.capabilities", json!(["CAP_KILL"]), "process.capabilities"),
        one("process.capabilities.bounding", json!(["CAP_TEA"]), "process.capabilities.bounding"),
        one("process.rlimits", json!([limit("RLIMIT_TEA", 1, 1)]), "process.rlimits"),
        one("process.rlimits", json!([limit("RLIMIT_CORE", 2, 1)]), "process.rlimits[0]"),
        one(
            "process.rlimits",
            json!([limit("RLIMIT_CORE", 0, 0), limit("RLIMIT_CORE", 0, 0)]),
            "process.rlimits[1]",
        ),
        one("process.rlimits", json!([{"soft": 1, "hard": 1}]), "type"),
        one("process.oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        one("process.oomScoreAdj", json!(-1001), "process.oomScoreAdj"),
        one("process.oomScoreAdj", json!("10"), "process.oomScoreAdj"),
        one("process.scheduler", json!({}), "process.scheduler.policy"),
        one("process.scheduler", json!({"policy": "SCHED_TEA"}), "process.scheduler.policy"),
        one("process.scheduler", json!({"policy": "SCHED_OTHER", "nice": 20}), "process.scheduler.nice"),
        one(
            "process.scheduler",
            json!({"policy": "SCHED_OTHER", "priority": 1}),
            "process.scheduler.priority",
        ),
        one("process.scheduler", json!({"policy": "SCHED_OTHER", "period": 1}), "process.scheduler.runtime"),
        one("process.scheduler", json!({"policy": "SCHED_OTHER", "flags": ["X"]}), "process.scheduler.flags"),
        one("process.ioPriority", json!({"class": "IOPRIO_CLASS_TEA"}), "process.ioPriority.class"),
        one(
            "process.ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            "process.ioPriority.priority",
        ),
        one("process.execCPUAffinity", json!({"initial": "x"}), "process.execCPUAffinity.initial"),
        one("process.execCPUAffinity", json!({"final": "3-1"}), "process.execCPUAffinity.final"),
    ]
}

fn linux() -> Vec<Case> {
    let device = |kind: &str, path: &str, minor: i64| json!([{"type": kind, "path": path, "major": 1, "minor": minor}]);
    let range = |size: u32| json!([{"containerID": 0, "hostID": 100_000, "size": size}]);
    let only = |kind: &str| json!([{"type": kind}]);
    vec![
        one("linux", json!([]), "linux"),
        one("linux.namespaces", json!([{}]), "type"),
        one("linux.namespaces", only("tea"), "linux.namespaces[0].type"),
        one("linux.namespaces", json!([{"type": "pid"}, {"type": "pid"}]), "linux.namespaces"),
        one("linux.namespaces", json!([{"type": "pid", "path": "/no/such"}]), "linux.namespaces"),
        (vec![("linux.namespaces", only("mount")), ("hostname", json!("x"))], "hostname"),
        (
            vec![("linux.namespaces", only("mount")), ("hostname", absent()), ("domainname", json!("x"))],
            "domainname",
        ),
        (vec![("linux.namespaces", only("user")), ("hostname", absent())], "linux.namespaces"),
        one("linux.uidMappings", range(1), "linux.uidMappings"),
        (
            vec![
                ("linux.namespaces", json!([{"type": "user"}, {"type": "mount"}])),
                ("hostname", absent()),
                ("linux.uidMappings", range(0)),
                ("linux.gidMappings", range(1)),
            ],
            "linux.uidMappings[0].size",
        ),
        one("linux.devices", device("x", "/dev/x", 1), "linux.devices[0].type"),
        one("linux.devices", device("c", "dev/x", 1), "linux.devices[0].path"),
        one("linux.devices", device("c", "/dev/x", -1), "linux.devices[0].minor"),
        one("linux.devices", json!([{"path": "/dev/x"}]), "type"),
        one("linux.cgroupsPath", json!("/"), "linux.cgroupsPath"),
        one("linux.cgroupsPath", json!("/../x"), "linux.cgroupsPath"),
        one("linux.cgroupsPath", json!(5), "linux.cgroupsPath"),
        one("linux.rootfsPropagation", json!("tea"), "linux.rootfsPropagation"),
        one("linux.sysctl", json!({"vm.swappiness": "1"}), "linux.sysctl"),
        one("linux.sysctl", json!({"kernel.hostname": "x"}), "linux.sysctl"),
        one("linux.sysctl", json!({"user.max_pid_namespaces": "1"}), "linux.sysctl"),
        one("linux.sysctl", json!({"net.ipv4.ip_forward": 1}), "linux.sysctl"),
        one("linux.maskedPaths", json!(["proc/kcore"]), "linux.maskedPaths"),
        one("linux.readonlyPaths", json!(["proc/sys"]), "linux.readonlyPaths"),
        one("linux.personality", json!({"domain": "BSD"}), "linux.personality.domain"),
        one("linux.personality", json!({"domain": "LINUX", "flags": ["X"]}), "linux.personality.flags"),
        one("linux.memoryPolicy", json!({"mode": "MPOL_TEA"}), "linux.memoryPolicy.mode"),
        one("linux.memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "x"}), "linux.memoryPolicy.nodes"),
        one("linux.memoryPolicy", json!({"mode": "MPOL_BIND", "flags": ["X"]}), "linux.memoryPolicy.flags"),
        one("linux.intelRdt", json!({"closID": "x"}), "linux.intelRdt"),
        one("linux.netDevices", json!({"a/b": {}}), "linux.netDevices"),
        one("linux.netDevices", json!({"a": {"name": "0123456789abcdef"}}), "linux.netDevices"),
        one("linux.netDevices", json!({"a": {"name": "c"}, "b": {"name": "c"}}), "linux.netDevices"),
        one("linux.timeOffsets", json!({"monotonic": {"secs": 1}}), "linux.timeOffsets"),
    ]
}

fn resources() -> Vec<Case> {
    let rate = |rate: Value| json!([{"major": 8, "minor": 0, "rate": rate}]);
    vec![
        one("linux.resources", json!([]), "linux.resources"),
        one("linux.resources.devices", json!([{}]), "allow"),
        one("linux.resources.devices", json!([{"allow": true, "access": "x"}]), "linux.resources.devices[0]"),
        one("linux.resources.devices", json!([{"allow": true, "access": ""}]), "linux.resources.devices[0]"),
        one("linux.resources.devices", json!([{"allow": true, "type": "p"}]), "linux.resources.devices[0]"),
        one(
            "linux.resources.devices",
            json!([{"allow": true, "major": -2}]),
            "linux.resources.devices[0].major",
        ),
        one("linux.resources.memory", json!({"limit": "1m"}), "linux.resources.memory.limit"),
        one("linux.resources.memory", json!({"limit": 9000, "swap": 8000}), "linux.resources.memory.swap"),
        one("linux.resources.cpu", json!({"cpus": 5}), "linux.resources.cpu.cpus"),
        one("linux.resources.cpu", json!({"shares": -1}), "linux.resources.cpu.shares"),
        one("linux.resources.pids", json!({"limit": "x"}), "linux.resources.pids.limit"),
        one("linux.resources.blockIO", json!({"weight": 70_000}), "linux.resources.blockIO.weight"),
        one("linux.resources.blockIO", json!({"throttleReadBpsDevice": rate(json!(-1))}), "rate"),
        one("linux.resources.rdma", json!({"mlx5_0": {"hcaHandles": -1}}), "hcaHandles"),
        one("linux.resources.unified", json!({"../x": "1"}), "linux.resources.unified"),
        one("linux.resources.unified", json!({"memory.high": 1}), "linux.resources.unified"),
        one(
            "linux.resources.hugepageLimits",
            json!([{"pageSize": "../../x", "limit": 1}]),
            "linux.resources.hugepageLimits",
        ),
        one("linux.resources.hugepageLimits", json!([{"limit": 1}]), "pageSize"),
    ]
}

fn seccomp() -> Vec<Case> {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let argument =
        |argument: Value| rule(json!({"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [argument]}));
    vec![
        one("linux.seccomp", json!({}), "defaultAction"),
        one("linux.seccomp", json!({"defaultAction": "SCMP_ACT_TEA"}), "linux.seccomp.defaultAction"),
        one("linux.seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction"),
        one(
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_TEA"]}),
            "linux.seccomp.architectures",
        ),
        one(
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}),
            "linux.seccomp.flags",
        ),
        one("linux.seccomp", rule(json!({"action": "SCMP_ACT_ERRNO"})), "names"),
        one("linux.seccomp", rule(json!({"names": ["kill"], "action": "X"})), "linux.seccomp.syscalls"),
        one(
            "linux.seccomp",
            argument(json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"})),
            "linux.seccomp.syscalls",
        ),
        one("linux.seccomp", argument(json!({"index": 0, "value": 1, "op": "X"})), "linux.seccomp.syscalls"),
    ]
}

#[test]
fn what_cannot_be_meant_is_refused_by_its_field() {
    let all = [whole(), process(), linux(), resources(), seccomp()].concat();
    let mut wrong = Vec::new();
    let mut bundle = Bundle::new();
    let good = bundle.config.clone();
    for (fields, named) in all {
        bundle.config = good.clone();
        for (path, value) in &fields {
            set(&mut bundle.config, path, value.clone());
        }
        let output = bundle.call(&["create", &bundle.id()]);
        let message = said(&output);
        if output.status.success() || !message.contains(named) {
            wrong.push(format!("{fields:?}: {named} is not named: {}", message.trim()));
            bundle.call(&["delete", "--force", &bundle.id()]);
        }
        bundle.nothing_is_left();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_text_that_is_no_configuration_is_refused() {
    let bundle = Bundle::new();
    let path = bundle.dir.path().join("config.json");
    for text in ["", "null", "[]", "5", "{", "{}", "{\"ociVersion\":\"1.0.0\"} x", "\u{feff}{}"] {
        let mut command = bundle.command(&["create", &bundle.id()]);
        std::fs::write(&path, text).unwrap();
        assert!(!command.status().unwrap().success(), "{text:?}");
        let message = std::fs::read_to_string(bundle.out()).unwrap();
        assert!(message.contains("config.json"), "{text:?}: {message}");
        bundle.nothing_is_left();
    }
}
