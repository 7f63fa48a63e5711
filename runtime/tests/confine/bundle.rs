//! A bundle with a shell, for tests that start the real program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

pub(crate) const RUNTIME: &str = env!("CARGO_BIN_EXE_plim-runtime");

pub(crate) struct Bundle {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: Value,
}

impl Bundle {
    /// `None`, with the reason printed, where such tests cannot run.
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("needs root");
            return None;
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let Some(busybox) = busybox else {
            skip("needs a static busybox");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        for sub in ["bin", "proc", "sys", "dev", "etc", "tmp", "sh"] {
            fs::create_dir_all(rootfs.join(sub)).unwrap();
        }
        fs::copy(busybox, rootfs.join("bin/busybox")).unwrap();
        for applet in
            ["sh", "cat", "id", "ls", "mount", "umount", "unshare", "stat", "touch", "mkdir", "grep", "head"]
        {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        let mut config = serde_json::to_value(runtime::oci::example()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["env"] = json!(["PATH=/bin"]);
        config["root"]["readonly"] = json!(false);
        let mut bundle = Self { dir, config };
        let id = bundle.id();
        bundle.config["linux"]["cgroupsPath"] = json!(format!("/plim-test-{id}"));
        bundle.config["linux"]["resources"] = json!({});
        Some(bundle)
    }

    pub(crate) fn id(&self) -> String {
        self.dir.path().file_name().unwrap().to_string_lossy().replace('.', "")
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    /// What the container runs.
    pub(crate) fn script(&mut self, script: &str) -> &mut Self {
        self.config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        self
    }

    pub(crate) fn mount(
        &mut self,
        destination: &str,
        kind: &str,
        source: &Path,
        options: &[&str],
    ) -> &mut Self {
        let mount = json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.config["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    /// Takes a mount out, by its destination.
    pub(crate) fn unmount(&mut self, destination: &str) -> &mut Self {
        self.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != destination);
        self
    }

    /// Gives the container a user namespace whose ids begin at 100,000 on the host.
    pub(crate) fn user_namespace(&mut self) -> &mut Self {
        let linux = &mut self.config["linux"];
        linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        linux["uidMappings"] = ids.clone();
        linux["gidMappings"] = ids;
        // Its groups are the host's root's.
        self.unmount("/sys/fs/cgroup")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        fs::write(self.dir.path().join("config.json"), self.config.to_string()).unwrap();
        let mut command = Command::new(RUNTIME);
        command
            .arg("--root")
            .arg(self.dir.path().join("state"))
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self) -> Output {
        self.command(&["run", &self.id()]).output().unwrap()
    }

    /// What the container said; it must have ended well.
    pub(crate) fn succeeds(&self) -> String {
        let output = self.run();
        assert!(output.status.success(), "{}: {}", output.status, said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error with which the runtime refused.
    pub(crate) fn is_refused(&self) -> String {
        let output = self.run();
        assert_eq!(output.status.code(), Some(1), "it was started: {}", said(&output));
        assert!(output.stdout.is_empty(), "it ran: {}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    }
}

/// A setting of the host that must not change. A program that fails the test does not leave the host changed.
pub(crate) struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    pub(crate) fn new(path: &'static str) -> Self {
        Self { path, before: fs::read_to_string(path).unwrap() }
    }

    pub(crate) fn is_unchanged(&self) -> bool {
        fs::read_to_string(self.path).unwrap() == self.before
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if !self.is_unchanged() {
            let _ = fs::write(self.path, &self.before);
        }
    }
}

pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Says so past the capture of output: CI counts what was not tried, and why.
pub(crate) fn skip(reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}
