//! A disk that is full stops nobody who has started, and what ended tells how.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

mod common;

use common::Shop;

/// Does something in a mount namespace where `small` is a file system of a few MiB.
fn on_a_small_disk(shop: &Shop, act: impl FnOnce(&str) + Send) {
    let small = shop.path("small");
    fs::create_dir(&small).unwrap();
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(none, &small, Some("tmpfs"), MsFlags::empty(), Some("size=12m")).unwrap();
            act(small.to_str().unwrap());
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Ends by itself, or is killed and a failure: on a full disk nothing may hang.
fn ends(command: &mut Command) -> (i32, Vec<u8>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    std::thread::scope(|scope| {
        let out = scope.spawn(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut out, &mut bytes).unwrap();
            bytes
        });
        let err = scope.spawn(move || std::io::read_to_string(&mut err).unwrap());
        let deadline = Instant::now() + Duration::from_secs(90);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        (status.code().unwrap_or(-1), out.join().unwrap(), err.join().unwrap())
    })
}

#[test]
fn a_container_on_a_full_disk_goes_on_and_its_log_says_what_is_missing() {
    let Some(shop) = Shop::open("full disk") else { return };
    let archive = shop.path("box.tar").display().to_string();
    shop.plim(&["save", "-o", &archive, "box"]);
    on_a_small_disk(&shop, |small| {
        let plim = |words: &[&str]| ends(&mut shop.command(&[&["--data-root", small], words].concat()));
        let works = |words: &[&str]| {
            let (status, out, err) = plim(words);
            assert_eq!(status, 0, "{words:?}: {err}");
            String::from_utf8(out).unwrap().trim_end().to_owned()
        };
        works(&["load", "-i", &archive]);
        let script = "echo first; busybox yes 123456789012345678901234567890 | busybox head -c 16000000; \
                      echo last; exit 5";
        let run = ["run", "--network", "none", "--name", "one", "box", "sh", "-c", script];
        let (status, out, err) = plim(&run);
        assert_eq!(status, 5, "{err}");
        assert!(out.len() == 16_000_011 && out.ends_with(b"last\n"), "{} bytes came", out.len());
        let (status, log, err) = plim(&["logs", "one"]);
        assert_eq!(status, 0, "{err}");
        assert!(log.starts_with(b"first\n") && log.len() < 12 << 20, "{}", log.len());
        assert!(err.contains("bytes of stdout") && err.contains("No space left on device"), "{err}");
        assert_eq!(works(&["inspect", "-f", "{{.State.ExitCode}} {{.State.Status}}", "one"]), "5 exited");
        assert_eq!(works(&["wait", "one"]), "5");
        works(&["rm", "one"]);
        assert!(plim(&["run", "--rm", "--network", "none", "box", "echo", "again"]).1 == b"again\n");
        // A disk that fills up otherwise, while a container runs.
        let id = works(&[
            "run",
            "-d",
            "--network",
            "none",
            "box",
            "sh",
            "-c",
            "until cat /go; do :; done; exit 6",
        ]);
        let filler = std::path::Path::new(small).join("filler");
        let full = std::io::copy(&mut std::io::repeat(1), &mut fs::File::create(&filler).unwrap());
        assert_eq!(full.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        let (status, _, err) = plim(&["run", "--network", "none", "box", "true"]);
        assert!(status != 0 && err.contains("No space left on device"), "{status} {err}");
        works(&["exec", &id, "sh", "-c", "> /go"]);
        assert_eq!(works(&["wait", &id]), "6");
        assert_eq!(works(&["inspect", "-f", "{{.State.ExitCode}} {{.State.Pid}}", &id]), "6 0");
        let (_, _, err) = plim(&["pull", "127.0.0.1:1/x"]);
        assert!(!err.contains("panicked"), "{err}");
        works(&["rm", &id]);
        fs::remove_file(&filler).unwrap();
        works(&["system", "check", "--repair"]);
        assert_eq!(works(&["system", "check"]), "nothing is wrong");
        assert_eq!(works(&["run", "--rm", "--network", "none", "box", "echo", "still here"]), "still here");
    });
}
