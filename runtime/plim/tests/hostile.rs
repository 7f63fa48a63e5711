//! Containers, images and contexts that try to reach the host through `plim`. The races are real: a thread exchanges names while
//! the command reads or writes. `PLIM_RACES` says how many exchanges must have been met, by each kind of reader.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Shop;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};

const SECRET: &str = "a secret of the host";
/// Names that are exchanged at once.
const PAIRS: usize = 48;

fn races() -> u64 {
    std::env::var("PLIM_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

fn has_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Exchanges `f0` with `l0`, `f1` with `l1` and so on in a directory, for as long as the work goes on.
fn while_exchanged<T>(dir: &Path, work: impl FnOnce() -> T) -> (T, u64) {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let opened: OwnedFd = fs::File::open(dir).unwrap().into();
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for number in 0..PAIRS {
                    let (one, other) = (format!("f{number}"), format!("l{number}"));
                    if renameat_with(&opened, &one, &opened, &other, RenameFlags::EXCHANGE).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        done
    });
    (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), count.into_inner())
}

/// A running container with files in /x, and beside each a link to the host's secret, a pipe or a device, under names that are
/// exchanged. Returns the directory as the host sees it.
fn trap(shop: &Shop, secret: &Path) -> PathBuf {
    shop.plim(&["run", "-d", "--network", "none", "--name", "rr", "box", "sleep", "10000"]);
    let dir = PathBuf::from(format!("/proc/{}/root/x", shop.pid("rr")));
    fs::create_dir(&dir).unwrap();
    for number in 0..PAIRS {
        fs::write(dir.join(format!("f{number}")), "inside").unwrap();
        let other = dir.join(format!("l{number}"));
        match number % 6 {
            4 => mknodat(CWD, &other, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap(),
            // /dev/zero has no end.
            5 => {
                mknodat(CWD, &other, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 5))
                    .unwrap();
            }
            _ => symlink(secret, &other).unwrap(),
        }
    }
    dir
}

/// Pairs of which both names, or neither, were seen to be files: an exchange happened between the looks at the one and at
/// the other.
fn torn(is_file: &BTreeMap<String, bool>) -> u64 {
    let pairs = (0..PAIRS).filter_map(|number| {
        Some((is_file.get(&format!("f{number}"))?, is_file.get(&format!("l{number}"))?))
    });
    pairs.filter(|(one, other)| one == other).count() as u64
}

/// What an archive has in `x`, and how often its writer met an exchange.
fn met_in(archive: &[u8]) -> u64 {
    assert!(!has_secret(archive));
    let mut seen = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let Ok(name) = path.strip_prefix("x") else { continue };
        // A file with two names may be stored as a link to itself; nothing here has two.
        let is_file = entry.header().entry_type().is_file();
        if is_file {
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert_eq!(content, "inside", "{}", path.display());
        }
        seen.insert(text(name), is_file);
    }
    torn(&seen)
}

/// Repeats until enough exchanges were met. The limit of time ends a test whose exchanges never meet anybody.
fn until_met(what: &str, mut one: impl FnMut() -> u64) {
    let (mut met, mut runs) = (0, 0);
    let end = Instant::now() + Duration::from_secs(60 + races() / 2);
    while met < races() {
        assert!(Instant::now() < end, "{what}: {met} exchanges met in {runs} runs");
        met += one();
        runs += 1;
    }
    println!("{what}: {met} exchanges met in {runs} runs, no escape");
}

/// A reader that looks at a name and opens it afterwards gets the secret here: the exchanges are quick enough.
fn control(dir: &Path) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        for number in 0..PAIRS {
            let path = dir.join(format!("f{number}"));
            let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
            // Only links are of use here: a pipe would never answer.
            if is_file && number % 6 < 4 && fs::read(&path).is_ok_and(|bytes| has_secret(&bytes)) {
                return;
            }
        }
        assert!(Instant::now() < end, "no reader was ever deceived: this test shows nothing");
    }
}

#[test]
fn no_exchange_deceives_who_reads_a_running_container() {
    let Some(shop) = Shop::open("races of readers") else { return };
    let secret = shop.path("secret");
    fs::write(&secret, SECRET).unwrap();
    let dir = trap(&shop, &secret);
    let ((), exchanges) = while_exchanged(&dir, || {
        control(&dir);
        until_met("export", || met_in(&shop.command(&["export", "rr"]).output().unwrap().stdout));
        until_met("cp to an archive", || {
            met_in(&shop.command(&["cp", "rr:/x", "-"]).output().unwrap().stdout)
        });
        until_met("cp out", || {
            let out = shop.path("out");
            shop.plim(&["cp", "rr:/x", &text(&out)]);
            let mut seen = BTreeMap::new();
            for entry in fs::read_dir(&out).unwrap().flatten() {
                let kind = entry.file_type().unwrap();
                assert!(kind.is_file() || kind.is_symlink() || kind.is_fifo() || kind.is_char_device());
                if kind.is_file() {
                    assert_eq!(fs::read_to_string(entry.path()).unwrap(), "inside");
                }
                seen.insert(entry.file_name().into_string().unwrap(), kind.is_file());
            }
            fs::remove_dir_all(&out).unwrap();
            torn(&seen)
        });
        until_met("commit without pause", || {
            shop.plim(&["commit", "--pause=false", "rr", "torn"]);
            let saved = shop.command(&["save", "torn"]).output().unwrap().stdout;
            shop.plim(&["rmi", "torn"]);
            let mut met = 0;
            for entry in tar::Archive::new(saved.as_slice()).entries().unwrap() {
                let mut blob = Vec::new();
                entry.unwrap().read_to_end(&mut blob).unwrap();
                if blob.get(257..262) == Some(b"ustar") {
                    met += met_in(&blob);
                }
            }
            met
        });
    });
    println!("{exchanges} exchanges");
}

#[test]
fn no_exchange_deceives_who_writes_into_a_running_container() {
    let Some(shop) = Shop::open("races of writers") else { return };
    let (host, from) = (shop.path("host"), shop.path("from"));
    fs::create_dir(&host).unwrap();
    fs::write(host.join("kept"), "untouched").unwrap();
    shop.plim(&["run", "-d", "--network", "none", "--name", "rr", "box", "sleep", "10000"]);
    let dir = PathBuf::from(format!("/proc/{}/root/x", shop.pid("rr")));
    fs::create_dir(&dir).unwrap();
    for number in 0..PAIRS {
        fs::create_dir_all(from.join(format!("f{number}"))).unwrap();
        fs::write(from.join(format!("f{number}/file")), "x").unwrap();
        fs::create_dir(dir.join(format!("f{number}"))).unwrap();
        symlink(&host, dir.join(format!("l{number}"))).unwrap();
    }
    let source = format!("{}/.", from.display());
    let untouched = || {
        assert_eq!(fs::read_dir(&host).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(host.join("kept")).unwrap(), "untouched");
    };
    let ((), exchanges) = while_exchanged(&dir, || {
        until_met("cp in, a tree", || {
            let (status, _, err) = shop.said(&["cp", &source, "rr:/x"]);
            untouched();
            assert!(
                status == 0 || err.contains("cannot overwrite") || err.contains("leads through"),
                "{err}"
            );
            u64::from(status != 0)
        });
        until_met("cp in, a file", || {
            let (status, _, err) = shop.said(&["cp", &text(&from.join("f0/file")), "rr:/x/f1/"]);
            untouched();
            assert!(status == 0 || err.contains("there is no directory") || err.contains("/x/f1"), "{err}");
            u64::from(status != 0)
        });
    });
    println!("{exchanges} exchanges");
}

#[test]
fn no_exchange_in_the_context_deceives_a_build() {
    let Some(shop) = Shop::open("races of builds") else { return };
    let (host, context) = (shop.path("host"), shop.path("context"));
    fs::create_dir_all(context.join("f0")).unwrap();
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), SECRET).unwrap();
    fs::write(context.join("f0/file"), "inside").unwrap();
    symlink(&host, context.join("l0")).unwrap();
    let ((), exchanges) = while_exchanged(&context, || {
        for (what, line) in [
            ("mount of the context", "RUN --mount=type=bind,source=f0,target=/q cat /q/file"),
            ("COPY of a directory", "COPY f0 /q\nRUN cat /q/file"),
            ("COPY of a file", "COPY f0/file /q/file\nRUN cat /q/file"),
        ] {
            fs::write(context.join("Dockerfile"), format!("FROM box\n{line}\n")).unwrap();
            until_met(what, || {
                let words = ["build", "--no-cache", "--network", "none", "-t", "made", &text(&context)];
                let (status, out, err) = shop.said(&words);
                assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out} {err}");
                assert!(status != 0 || out.contains("inside"), "{out} {err}");
                u64::from(status != 0)
            });
        }
    });
    println!("{exchanges} exchanges");
}

#[test]
fn a_copy_never_follows_a_link_of_the_container_to_the_host() {
    let Some(shop) = Shop::open("links of containers") else { return };
    let (host, from) = (shop.path("host"), shop.path("s"));
    fs::create_dir(&host).unwrap();
    fs::create_dir(&from).unwrap();
    fs::write(host.join("secret"), SECRET).unwrap();
    fs::write(from.join("file"), "x").unwrap();
    shop.plim(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "rr",
        "-v",
        "kept:/kept",
        "box",
        "sleep",
        "10000",
    ]);
    let script = format!(
        "mkdir /d; busybox ln -s {0} /d/s; busybox ln -s {0}/secret /d/file; busybox ln -s ../d/new /d/link; \
         busybox ln -s / /kept/up; busybox ln -s /kept /k",
        host.display()
    );
    shop.plim(&["exec", "rr", "sh", "-c", &script]);
    for state in ["running", "stopped"] {
        let (status, _, err) = shop.said(&["cp", &text(&from), "rr:/d"]);
        assert!(status != 0 && err.contains("cannot overwrite non-directory"), "{state}: {err}");
        assert_ne!(shop.said(&["cp", &text(&from.join("file")), "rr:/d/s/file"]).0, 0, "{state}");
        assert_ne!(shop.said(&["cp", &format!("{}/.", from.display()), "rr:/d/s"]).0, 0, "{state}");
        // A link to a file is replaced in a directory, as Docker does, and followed inside of the root where it is named.
        shop.plim(&["cp", &text(&from.join("file")), "rr:/d/"]);
        shop.plim(&["cp", &text(&from.join("file")), "rr:/d/link"]);
        shop.plim(&["cp", "rr:/d/new", &text(&shop.path("new"))]);
        assert_eq!(fs::read_to_string(shop.path("new")).unwrap(), "x", "{state}");
        let (status, _, _) = shop.said(&["cp", "-L", "rr:/d/s/secret", &text(&shop.path("stolen"))]);
        assert!(status != 0 && !shop.path("stolen").exists(), "{state}");
        // Volumes are where the container has them, and their links lead inside of it.
        shop.plim(&["cp", &text(&from.join("file")), "rr:/k/in-volume"]);
        shop.plim(&["cp", "rr:/kept/up/kept/in-volume", &text(&shop.path("back"))]);
        assert_eq!(
            fs::read_to_string(shop.path("data/volumes/kept/_data/in-volume")).unwrap(),
            "x",
            "{state}"
        );
        fs::remove_file(shop.path("data/volumes/kept/_data/in-volume")).unwrap();
        assert_eq!(fs::read_dir(&host).unwrap().count(), 1, "{state}");
        if state == "running" {
            shop.plim(&["stop", "-t", "0", "rr"]);
        }
    }
    assert_eq!(fs::read_to_string(host.join("secret")).unwrap(), SECRET);
}

#[test]
fn a_dockerfile_gives_itself_no_network() {
    let Some(shop) = Shop::open("networks of builds") else { return };
    let context = shop.path("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("Dockerfile"), "FROM box\nRUN --network=host cat /proc/net/unix\n").unwrap();
    for network in ["none", "bridge"] {
        let (status, out, err) = shop.said(&["build", "--no-cache", "--network", network, &text(&context)]);
        assert!(
            status != 0 && err.contains("--network=host") && !out.contains('@'),
            "{network}: {out} {err}"
        );
    }
    shop.plim(&["build", "--no-cache", "--network", "host", &text(&context)]);
    fs::write(context.join("Dockerfile"), "FROM box\nRUN --network=none true\n").unwrap();
    shop.plim(&["build", "--no-cache", "--network", "host", &text(&context)]);
}

#[test]
fn an_archive_for_a_container_stays_in_its_files() {
    let Some(shop) = Shop::open("archives for containers") else { return };
    shop.plim(&["run", "-d", "--network", "none", "--name", "rr", "box", "sleep", "10000"]);
    let outside = shop.path("outside");
    let adjustment = || {
        let (_, value, _) = shop.said(&["exec", "rr", "cat", "/proc/1/oom_score_adj"]);
        value
    };
    let before = adjustment();
    for (name, link) in
        [("../../outside", None), ("way/outside", Some(&shop.dir)), ("proc/1/oom_score_adj", None)]
    {
        let mut builder = tar::Builder::new(Vec::new());
        if let Some(link) = link {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, "way", link.path()).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(3);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, &b"500"[..]).unwrap();
        let archive = builder.into_inner().unwrap();
        fs::write(shop.path("archive"), &archive).unwrap();
        let input = fs::File::open(shop.path("archive")).unwrap();
        let done = shop.command(&["cp", "-", "rr:/"]).stdin(input).output().unwrap();
        assert!(!done.status.success(), "{name}");
        assert!(!outside.exists(), "{name}");
    }
    assert_eq!(adjustment(), before);
}

#[test]
fn an_image_cannot_declare_its_way_to_the_host() {
    let Some(shop) = Shop::open("volumes of images") else { return };
    let context = shop.path("context");
    fs::create_dir(&context).unwrap();
    for (volume, refused) in [
        ("/proc/sys/net/ipv4", true),
        ("/proc", true),
        ("/dev", true),
        ("/sys/kernel", true),
        ("/:/host", false),
        (&format!("{}:/host", shop.dir.path().display()), false),
    ] {
        fs::write(context.join("Dockerfile"), format!("FROM box\nVOLUME [\"{volume}\"]\n")).unwrap();
        shop.plim(&["build", "-q", "--network", "none", "-t", "made", &text(&context)]);
        let (status, out, err) = shop.said(&["run", "--rm", "--network", "none", "made", "ls", "/host"]);
        assert_ne!(status, 0, "{volume}: {out}");
        assert_eq!(refused, err.contains("nothing can be mounted at"), "{volume}: {err}");
    }
    for words in [["-v", "x1:/proc/sys"], ["--tmpfs", "/proc/acpi"], ["--mount", "type=volume,target=/sys"]] {
        let (status, _, err) =
            shop.said(&["run", "--rm", "--network", "none", words[0], words[1], "box", "true"]);
        assert!(status == 125 && err.contains("nothing can be mounted at"), "{words:?}: {status} {err}");
    }
}

#[test]
fn a_name_in_the_context_is_no_option_of_a_mount() {
    let Some(shop) = Shop::open("options in names") else { return };
    let (host, context) = (shop.path("host"), shop.path("context"));
    fs::create_dir(&host).unwrap();
    fs::write(host.join("secret"), SECRET).unwrap();
    for option in ["x,bind-propagation=rprivate", "x,readonly", "x:rw,a\\,b"] {
        fs::create_dir_all(context.join(option)).unwrap();
        fs::write(context.join(option).join("secret"), "inside").unwrap();
        symlink(&host, context.join("x")).unwrap();
        symlink(option, context.join("s")).unwrap();
        let text = "FROM box\nRUN --mount=type=bind,source=s,target=/q cat /q/secret\n";
        fs::write(context.join("Dockerfile"), text).unwrap();
        let out = shop.plim(&[
            "build",
            "--no-cache",
            "--network",
            "none",
            "-t",
            "made",
            &context.display().to_string(),
        ]);
        assert!(out.contains("inside") && !out.contains(SECRET), "{out}");
        fs::remove_dir_all(&context).unwrap();
    }
}

#[test]
fn a_context_with_pipes_and_devices_neither_blocks_nor_leaks() {
    let Some(shop) = Shop::open("pipes in contexts") else { return };
    let secret = shop.path("secret");
    fs::write(&secret, SECRET).unwrap();
    let context = shop.path("context");
    fs::create_dir(&context).unwrap();
    let dockerfile = context.join("Dockerfile");
    for name in [".dockerignore", "Dockerfile", "file"] {
        for kind in ["pipe", "zero", "link"] {
            fs::write(&dockerfile, "FROM box\nADD file /\nRUN ls /file\n").unwrap();
            fs::write(context.join("file"), "inside").unwrap();
            let there = context.join(name);
            let _ = fs::remove_file(&there);
            match kind {
                "pipe" => mknodat(CWD, &there, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap(),
                "zero" => {
                    mknodat(
                        CWD,
                        &there,
                        FileType::CharacterDevice,
                        Mode::from_raw_mode(0o666),
                        makedev(1, 5),
                    )
                    .unwrap();
                }
                _ => symlink(&secret, &there).unwrap(),
            }
            let words = ["build", "--no-cache", "--network", "none", "-t", "made", &text(&context)];
            let (out, err) =
                (fs::File::create(shop.path("out")).unwrap(), fs::File::create(shop.path("err")).unwrap());
            let mut child =
                shop.command(&words).stdout(Stdio::from(out)).stderr(Stdio::from(err)).spawn().unwrap();
            let end = Instant::now() + Duration::from_secs(60);
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                if Instant::now() > end {
                    child.kill().unwrap();
                    panic!("{name} as a {kind}: the build waits");
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            let said =
                fs::read(shop.path("out")).unwrap().into_iter().chain(fs::read(shop.path("err")).unwrap());
            let said: Vec<u8> = said.collect();
            assert!(!has_secret(&said), "{name} as a {kind}");
            // A pipe or a device in the context is copied as what it is; the step that reads it may fail.
            assert!(
                !status.success() || name == "file",
                "{name} as a {kind}: {}",
                String::from_utf8_lossy(&said)
            );
            fs::remove_file(&there).unwrap();
        }
    }
}

#[test]
fn what_an_image_says_does_not_command_the_terminal() {
    let Some(shop) = Shop::open("terminals") else { return };
    let context = shop.path("context");
    fs::create_dir(&context).unwrap();
    let escape = "\u{1b}]0;owned\u{7}\u{9b}2J";
    let file = format!(
        "FROM box\nLABEL a=\"{escape}\"\nRUN echo '{escape}' > /dev/null\nCMD [\"sleep\", \"{escape}\"]\n"
    );
    fs::write(context.join("Dockerfile"), file).unwrap();
    let mut all = vec![shop.plim(&["build", "--network", "none", "-t", "made", &text(&context)])];
    shop.plim(&["create", "--network", "none", "--name", "cc", "made"]);
    shop.plim(&[
        "run",
        "--network",
        "none",
        "--name",
        "rr",
        "made",
        "sh",
        "-c",
        &format!("echo '{escape}'; echo > '/{escape}'; echo > /$(busybox printf 'a\\nb')"),
    ]);
    for words in [
        &["ps", "-a", "--no-trunc"][..],
        &["history", "--no-trunc", "made"],
        &["diff", "rr"],
        &["inspect", "made", "cc"],
        &["images"],
        &["start", "cc"],
        &["cp", &format!("rr:/{escape}/x"), "/tmp/x"],
        &["run", "--rm", "--network", "none", "made", &format!("no{escape}")],
    ] {
        let (_, out, err) = shop.said(words);
        all.push(out + &err);
    }
    for said in &all {
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{said:?}");
    }
    assert!(all[3].contains("A /\\x1b]0;owned\\x07\\x9b2J") && all[3].contains("A /a\\nb"), "{}", all[3]);
    // What the container itself says is its own.
    assert_eq!(shop.plim(&["logs", "rr"]), escape);
}
