//! The README's tutorial, typed word by word into a shell.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};

mod common;

use common::{PLIM, Shop};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");

/// The indented block that holds a line.
fn block(text: &str, line: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let inside = |number: usize| lines[number].starts_with("    ") || lines[number].is_empty();
    let found = lines.iter().position(|one| one.trim() == line).expect("the README has this line");
    let start = (0..found).rev().take_while(|number| inside(*number)).last().unwrap_or(found);
    let end = (found..lines.len()).take_while(|number| inside(*number)).last().unwrap_or(found);
    lines[start..=end]
        .iter()
        .map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned() + "\n")
        .collect()
}

/// Where no distribution can be had, a program of its name packs a small root file system of the same shape.
fn without_mmdebstrap(shop: &Shop, bin: &Path) {
    let script = format!("#!/bin/sh\nexec cat {}\n", shop.path("root.tar").display());
    fs::write(bin.join("mmdebstrap"), script).unwrap();
    fs::set_permissions(bin.join("mmdebstrap"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_readme_can_be_typed_as_it_stands() {
    let Some(shop) = Shop::open("the README") else { return };
    for (program, package) in
        [("docker-registry", "docker-registry"), ("htpasswd", "apache2-utils"), ("curl", "curl")]
    {
        if runtime::process::in_path(program).is_none() {
            println!("skipped: the README: there is no {program}: apt-get install {package}");
            return;
        }
    }
    let bin = shop.path("bin");
    fs::create_dir(&bin).unwrap();
    symlink(PLIM, bin.join("plim")).unwrap();
    let real = Command::new("mmdebstrap")
        .args(["--simulate", "--quiet", "--variant=minbase", "bookworm", "/dev/null"])
        .stderr(Stdio::null())
        .status();
    if !real.is_ok_and(|status| status.success()) {
        without_mmdebstrap(&shop, &bin);
    }
    // The test's own network has no way to a mirror, so the root file system is made before it.
    let archive = shop.path("debian.tar");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let made = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--include=busybox", "--skip=output/dev", "bookworm", "-"])
        .env("PATH", &path)
        .stdout(fs::File::create(&archive).unwrap())
        .status();
    assert!(made.unwrap().success());
    fs::rename(&archive, shop.path("root.tar")).unwrap();
    without_mmdebstrap(&shop, &bin);

    let text = fs::read_to_string(README).unwrap();
    let script = format!("set -e\n{}", block(&text, "plim build -t web ."));
    fs::create_dir(shop.path("home")).unwrap();
    let output = std::thread::scope(|scope| {
        let typed = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            runtime::namespace::loopback_up().unwrap();
            Command::new("sh")
                .args(["-c", &script])
                .env("PATH", &path)
                .env("PLIM_DATA_ROOT", shop.path("data"))
                .env("PLIM_AUTH_FILE", shop.path("auth.json"))
                .env("HOME", shop.path("home"))
                .current_dir(shop.path("home"))
                .stdin(Stdio::null())
                .output()
                .unwrap()
        });
        typed.join().unwrap()
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    // What the comments promise.
    for line in ["ahoy", "A /srv/more", "D /etc/motd", "more"] {
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
    let listed: Vec<&str> = out.lines().rev().take(3).collect();
    assert_eq!(listed, ["pages", "more", "index.html"], "{out}");
    assert_eq!(fs::read_to_string(shop.path("data/volumes/pages/_data/page")).unwrap(), "page\n");
}
