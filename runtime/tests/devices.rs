//! Network devices of the host that move into a container, in a network namespace that plays the host's.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use runtime::process::in_path;
use support::programs::write_cat;
use support::{Bundle, RUNTIME, is_root, skip};

fn can_try() -> bool {
    if !cfg!(target_arch = "x86_64") {
        skip("programs for x86");
        return false;
    }
    if ["ip", "unshare"].into_iter().any(|program| in_path(program).is_none()) {
        skip("needs ip (iproute2) and unshare");
        return false;
    }
    is_root()
}

/// A container that shows a file and gets the devices of `wanted`.
fn container(file: &str, wanted: Value) -> Bundle {
    let mut bundle = Bundle::new();
    write_cat(&bundle.dir.path().join("rootfs/cat"), file);
    bundle.config["process"]["args"] = json!(["/cat"]);
    bundle.config["linux"]["netDevices"] = wanted;
    bundle
}

/// Runs it on a host that has the devices plim0 and plim1, a pair with addresses. Also returns which of both the host has afterwards.
fn run(bundle: &Bundle) -> (bool, String) {
    fs::write(bundle.dir.path().join("config.json"), bundle.config.to_string()).unwrap();
    let script = "ip link add plim0 type veth peer name plim1 && ip link set plim0 mtu 1400 \
        && ip address add 10.99.0.1/24 dev plim0 && ip link set plim0 up && ip link set plim1 up \
        && ip -6 address add fd00:99::1/64 dev plim0 nodad && $R run $ID; echo \"ended with $?\"; ip -o link";
    let output = Command::new("unshare")
        .args(["-n", "sh", "-c", &format!("({script}) 2>&1")])
        .env("R", format!("{RUNTIME} --root {}/state", bundle.dir.path().display()))
        .env("ID", bundle.id())
        .current_dir(bundle.dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (said.contains("ended with 0"), said)
}

#[test]
fn a_device_moves_with_its_name_and_addresses() {
    if !can_try() {
        return;
    }
    for (file, expected) in [
        ("/proc/net/dev", "eth7:"),
        ("/proc/net/if_inet6", "fd000099000000000000000000000001"),
        // 10.99.0.0, as the kernel's table of routes has it.
        ("/proc/net/route", "eth7\t0000630A"),
    ] {
        let bundle = container(file, json!({"plim0": {"name": "eth7"}}));
        let (ran, text) = run(&bundle);
        let (inside, host) = text.split_once("ended with").unwrap();
        assert!(ran && inside.contains(expected), "{file}: {text}");
        assert!(!host.contains("plim0"), "it is on the host still: {text}");
        bundle.nothing_is_left();
    }
    let mut bundle = container("/sys/class/net/plim0/mtu", json!({"plim0": {}}));
    assert!(run(&bundle).1.starts_with("1400"), "{}", run(&bundle).1);
    // Its hooks find it, and its kernel parameters can be set.
    bundle.config["hooks"] = json!({"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "ip link show plim0"], "env": [
        format!("PATH={}", std::env::var("PATH").unwrap())
    ]}]});
    bundle.config["linux"]["sysctl"] = json!({"net/ipv4/conf/plim0/forwarding": "1"});
    let (ran, text) = run(&bundle);
    assert!(ran, "{text}");
    bundle.nothing_is_left();
}

#[test]
fn a_device_moves_into_a_user_namespace() {
    if !can_try() {
        return;
    }
    let mut bundle = container("/proc/net/dev", json!({"plim1": {"name": "eth0"}}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    let (ran, text) = run(&bundle);
    assert!(ran && text.contains("eth0:"), "{text}");
    bundle.nothing_is_left();
}

#[test]
fn a_device_that_cannot_move_is_named_and_nothing_is_left() {
    if !can_try() {
        return;
    }
    for (wanted, expected) in [
        (json!({"nosuch0": {}}), "linux.netDevices: nosuch0"),
        (json!({"lo": {"name": "lo1"}}), "linux.netDevices: lo"),
        (json!({"plim0": {"name": "lo"}}), "linux.netDevices: plim0"),
    ] {
        let bundle = container("/proc/net/dev", wanted);
        let (ran, text) = run(&bundle);
        assert!(!ran && text.contains(expected), "{text}");
        bundle.nothing_is_left();
    }
    let mut bundle = container("/proc/net/dev", json!({"plim0": {}}));
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "network");
    bundle.config["mounts"].as_array_mut().unwrap().retain(|one| one["type"] != "sysfs");
    let (ran, text) = run(&bundle);
    assert!(!ran && text.contains("linux.netDevices: there is no network namespace"), "{text}");
    // The runtime's own is no place to move to either.
    bundle.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "network", "path": "/proc/self/ns/net"}));
    let (ran, text) = run(&bundle);
    assert!(!ran && text.contains("linux.netDevices would be set for the whole host"), "{text}");
    bundle.nothing_is_left();
}
