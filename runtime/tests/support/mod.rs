//! Bundles that the tests give to the real program, and tiny programs that run in them.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod programs;

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
    /// A container that runs this very program's `--version`: static, so it needs nothing else.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        fs::create_dir_all(&rootfs).unwrap();
        fs::copy(RUNTIME, rootfs.join("app")).unwrap();
        let mut config = serde_json::to_value(runtime::oci::example()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/app", "--version"]);
        config["root"]["readonly"] = json!(false);
        config["linux"]["cgroupsPath"] = json!(format!("/plim-test-{}", Self::id_of(dir.path())));
        Self { dir, config }
    }

    fn id_of(dir: &Path) -> String {
        dir.file_name().unwrap().to_string_lossy().replace('.', "")
    }

    pub(crate) fn id(&self) -> String {
        Self::id_of(self.dir.path())
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Output {
        let status = self.command(arguments).status().unwrap();
        Output { status, stdout: fs::read(self.out()).unwrap(), stderr: Vec::new() }
    }

    /// Where output goes.
    pub(crate) fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// A command of the runtime for the bundle as it is now.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        fs::write(self.dir.path().join("config.json"), self.config.to_string()).unwrap();
        // Into a file: a created container keeps its streams, and would keep a pipe open.
        let file = fs::File::create(self.out()).unwrap();
        let mut command = Command::new(RUNTIME);
        command
            .arg("--root")
            .arg(self.dir.path().join("state"))
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        command
    }

    pub(crate) fn nothing_is_left(&self) {
        let state = fs::read_dir(self.dir.path().join("state"));
        assert_eq!(state.into_iter().flatten().count(), 0, "state is left");
        let name = format!("plim-test-{}", self.id());
        for hierarchy in runtime::cgroup::Layout::detect().unwrap().hierarchies {
            assert!(!hierarchy.mount_point.join(&name).exists(), "{}", hierarchy.mount_point.display());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.dir.path().to_str().unwrap()), "a mount is left");
    }
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// Says so past the capture of output: CI counts what was not tried, and why.
pub(crate) fn skip(reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}
