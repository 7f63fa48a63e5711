//! What an ordinary user gets: a container with their own id, or with the ids that the host grants them, and no more rights than that.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use runtime::process::in_path;
use support::programs::{write_cat, write_idle};
use support::{Bundle, RUNTIME, is_root, skip};

/// Nobody special, whom every host has.
const USER: u32 = 65_534;

/// Lets the user read and change all that a bundle has, and reach it.
fn give(dir: &Path) {
    chown(dir, Some(USER), Some(USER)).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path());
        } else {
            chown(entry.path(), Some(USER), Some(USER)).unwrap();
        }
    }
}

impl Bundle {
    /// A container of an ordinary user that runs what `write` makes.
    fn rootless(write: impl FnOnce(&Path)) -> Self {
        let mut bundle = Self::new();
        let rootfs = bundle.dir.path().join("rootfs");
        // The test's own directory may be closed to others. By another process, because what this program writes to may stay open in
        // one that another test makes of it.
        let program = bundle.dir.path().join("plim-runtime");
        assert!(Command::new("cp").arg(RUNTIME).arg(program).status().unwrap().success());
        write(&rootfs.join("program"));
        bundle.config = serde_json::to_value(runtime::oci::rootless_example()).unwrap();
        bundle.config["process"]["terminal"] = json!(false);
        bundle.config["process"]["args"] = json!(["/program"]);
        let own = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
        bundle.config["linux"]["uidMappings"] = own.clone();
        bundle.config["linux"]["gidMappings"] = own;
        bundle
    }

    /// Runs a shell script as the user, `$R` being the runtime and `$ID` the container. Before it, as root in a mount namespace of its own,
    /// `prepare` runs.
    fn script(&self, prepare: &str, script: &str) -> (bool, String) {
        fs::write(self.dir.path().join("config.json"), self.config.to_string()).unwrap();
        give(self.dir.path());
        let as_user = format!(
            "{prepare}\nexec setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all sh -c \"$SCRIPT\" 2>&1"
        );
        let output = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", &as_user])
            .env("SCRIPT", script)
            .env("R", format!("{0}/plim-runtime --root {0}/state", self.dir.path().display()))
            .env("ID", self.id())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn can_try() -> bool {
    if !cfg!(target_arch = "x86_64") {
        skip("programs for x86");
        return false;
    }
    if in_path("setpriv").is_none() || in_path("unshare").is_none() {
        skip("needs setpriv and unshare (util-linux)");
        return false;
    }
    is_root()
}

fn is_map(text: &str, ranges: &[[u32; 3]]) -> bool {
    let shown =
        text.lines().map(|line| line.split_whitespace().map(|number| number.parse().unwrap_or(u32::MAX)));
    shown
        .map(Iterator::collect::<Vec<u32>>)
        .filter(|line| line.len() == 3)
        .eq(ranges.iter().map(|range| range.to_vec()))
}

#[test]
fn an_id_of_ones_own_is_enough() {
    if !can_try() {
        return;
    }
    let bundle = Bundle::rootless(|path| write_cat(path, "/proc/self/uid_map"));
    let (ran, text) = bundle.script("", "$R run $ID");
    assert!(ran && is_map(&text, &[[0, USER, 1]]), "{text}");
    // What is not granted is told.
    assert!(text.contains("control groups are made where this user may make them"), "{text}");
    bundle.nothing_is_left();
}

#[test]
fn a_container_of_an_ordinary_user_is_entered_listed_signalled_and_deleted() {
    if !can_try() {
        return;
    }
    let bundle = Bundle::rootless(write_idle);
    write_cat(&bundle.dir.path().join("rootfs/status"), "/proc/self/uid_map");
    let script = "$R --log log run -d $ID >/dev/null && $R exec $ID /status && $R ps -f json $ID | tr -d ' \\n' \
        && $R list -q && $R kill $ID KILL && $R delete --force $ID && $R list -q && echo done";
    let (ran, text) = bundle.script("", script);
    assert!(ran && text.contains("done"), "{text}");
    assert!(text.contains(&USER.to_string()), "{text}");
    // Its one process is found although it has no group.
    let listed = text.split('[').nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    assert!(listed.parse::<i32>().is_ok_and(|pid| pid > 1), "{text}");
    bundle.nothing_is_left();
}

#[test]
fn ids_that_the_host_grants_are_mapped_and_others_refused() {
    if !can_try() {
        return;
    }
    if in_path("newuidmap").is_none() || in_path("newgidmap").is_none() {
        skip("needs newuidmap and newgidmap (package uidmap)");
        return;
    }
    let mut bundle = Bundle::rootless(|path| write_cat(path, "/proc/self/gid_map"));
    let map = |count: u32| json!([{"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": 700_000, "size": count}]);
    bundle.config["linux"]["uidMappings"] = map(1000);
    bundle.config["linux"]["gidMappings"] = map(1000);
    // Groups can be set now, as they cannot with one's own id alone.
    bundle.config["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7]});
    let granted = bundle.dir.path().join("granted");
    fs::write(&granted, format!("{USER}:700000:1000\n")).unwrap();
    let grant = "touch /etc/subuid /etc/subgid 2>/dev/null
        mount --bind granted /etc/subuid && mount --bind granted /etc/subgid";
    let (ran, text) = bundle.script(grant, "$R run $ID");
    assert!(ran && is_map(&text, &[[0, USER, 1], [1, 700_000, 1000]]), "{text}");
    bundle.config["linux"]["uidMappings"] = map(1001);
    let (ran, text) = bundle.script(grant, "$R run $ID");
    assert!(!ran && text.contains("linux.uidMappings") && text.contains("newuidmap"), "{text}");
    let (ran, text) = bundle.script(grant, "PATH=/nowhere; $R run $ID");
    assert!(!ran && text.contains("newgidmap was not found"), "{text}");
    bundle.nothing_is_left();
}

#[test]
fn limits_that_nobody_could_keep_are_refused() {
    if !can_try() {
        return;
    }
    let mut bundle = Bundle::rootless(write_idle);
    bundle.config["linux"]["resources"] = json!({"pids": {"limit": 5}});
    let (ran, text) = bundle.script("", "$R run $ID");
    assert!(!ran && text.contains("linux.resources.pids") && text.contains("this user may not"), "{text}");
    bundle.nothing_is_left();
}
