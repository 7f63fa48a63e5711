//! An engine with an image of busybox, for the tests of the command.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub const PLIM: &str = env!("CARGO_BIN_EXE_plim");
pub const BUSYBOX: &str = "/bin/busybox";

/// An engine with a data root of its own.
pub struct Shop {
    /// Where everything of the test lies.
    pub dir: tempfile::TempDir,
}

impl Shop {
    /// An engine with an image of busybox; `None`, and a line that says why, where that cannot be.
    pub fn open(test: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: {test}: needs root");
            return None;
        }
        if !fs::read(BUSYBOX).is_ok_and(|bytes| is_static(&bytes)) {
            println!("skipped: {test}: there is no static {BUSYBOX}: apt-get install busybox-static");
            return None;
        }
        let shop = Self { dir: tempfile::tempdir().unwrap() };
        let root = shop.path("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        for applet in
            ["sh", "cat", "ls", "echo", "rm", "mkdir", "sleep", "id", "env", "pwd", "true", "dd", "tty"]
        {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nme:x:7:8::/home/me:/bin/sh\n")
            .unwrap();
        let archive = shop.path("root.tar");
        engine::layer::write_tree(&root, fs::File::create(&archive).unwrap()).unwrap();
        shop.plim(&["import", archive.to_str().unwrap(), "box"]);
        Some(shop)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PLIM);
        command.env("PLIM_DATA_ROOT", self.path("data")).args(words).stdin(Stdio::null());
        command
    }

    pub fn said(&self, words: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    pub fn plim(&self, words: &[&str]) -> String {
        let (status, out, err) = self.said(words);
        assert_eq!(status, 0, "plim {}: {out} {err}", words.join(" "));
        out
    }

    pub fn alone(&self, words: &[&str]) -> String {
        self.plim(&[&["run", "--rm", "--network", "none"], words].concat())
    }

    pub fn id(&self, name: &str) -> String {
        self.plim(&["inspect", "--format", "{{.Id}}", name])
    }

    pub fn pid(&self, name: &str) -> i32 {
        let all: Value = serde_json::from_str(&self.plim(&["inspect", name])).unwrap();
        all[0]["State"]["Pid"].as_i64().unwrap().try_into().unwrap()
    }
}

/// Whether a program needs no loader: it has no program header of type PT_INTERP, elf(5).
fn is_static(program: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        program
            .get(at..at + length)
            .map(|bytes| bytes.iter().rev().fold(0_usize, |all, byte| all << 8 | usize::from(*byte)))
    };
    let (Some(first), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    program.starts_with(b"\x7fELF") && !(0..count).any(|header| number(first + header * size, 4) == Some(3))
}

impl Drop for Shop {
    fn drop(&mut self) {
        let (_, all, _) = self.said(&["ps", "-aq"]);
        for id in all.lines() {
            self.said(&["rm", "-f", "-v", id]);
        }
    }
}
