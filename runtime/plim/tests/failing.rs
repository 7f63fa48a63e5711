//! A disk that fails in the middle of a write: each command ends with an error, and what was there before is there afterwards.
//!
//! The disk is a loop device. Its backing file has holes and lies on a file system that is full, so the kernel can store nothing more: written
//! pages are lost at the write-back, syncs end with EIO or ENOSPC, the journal is given up.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

mod common;

use common::Shop;

/// How long a command may take: none stands for ever.
const PATIENCE: Duration = Duration::from_secs(60);

fn ends(command: &mut Command, errors: &Path) -> (i32, String) {
    let error_file = fs::File::create(errors).unwrap();
    let mut child = command.stdout(Stdio::null()).stderr(error_file).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    (status.code().unwrap_or(-1), fs::read_to_string(errors).unwrap())
}

fn does(program: &str, words: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    // e2fsck tells of errors that it corrected by 1.
    let fine = done.status.success() || (program == "e2fsck" && done.status.code() == Some(1));
    if fine { Ok(()) } else { Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr))) }
}

#[test]
fn nothing_is_lost_on_a_disk_that_fails() {
    let Some(shop) = Shop::open("failing disk") else { return };
    let archive = shop.path("box.tar").display().to_string();
    shop.plim(&["save", "-o", &archive, "box"]);
    let (back, data) = (shop.path("back"), shop.path("failing"));
    fs::create_dir(&back).unwrap();
    fs::create_dir(&data).unwrap();
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(none, &back, Some("tmpfs"), MsFlags::empty(), Some("size=24m")).unwrap();
            let disk = back.join("disk");
            fs::File::create(&disk).unwrap().set_len(200 << 20).unwrap();
            let (disk, place) = (disk.to_str().unwrap(), data.to_str().unwrap());
            let quick = "lazy_itable_init=1,lazy_journal_init=1,nodiscard";
            let made = does("mkfs.ext4", &["-q", "-F", "-J", "size=4", "-E", quick, disk])
                .and_then(|()| does("mount", &["-o", "loop", disk, place]));
            if let Err(why) = made {
                println!("skipped: failing disk: {why}");
                return;
            }
            on_it(&shop, &archive, &back, disk, place);
            umount2(&data, MntFlags::MNT_DETACH).unwrap();
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn on_it(shop: &Shop, archive: &str, back: &Path, disk: &str, place: &str) {
    let errors = shop.path("errors");
    let plim = |words: &[&str]| {
        ends(shop.command(&[&["--data-root", place], words].concat()).env("RUST_BACKTRACE", "0"), &errors)
    };
    let works = |words: &[&str]| {
        let (status, err) = plim(words);
        assert_eq!(status, 0, "{words:?}: {err}");
    };
    works(&["load", "-i", archive]);
    works(&["run", "--name", "before", "--network", "none", "box", "sh", "-c", "echo kept > /kept"]);
    does("sync", &["-f", place]).unwrap();

    let filler = back.join("filler");
    let full = std::io::copy(&mut std::io::repeat(1), &mut fs::File::create(&filler).unwrap());
    assert_eq!(full.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    let mut failed = 0;
    for round in 0..4 {
        let (name, image) = (format!("c{round}"), format!("img{round}"));
        let script = "busybox head -c 3000000 /dev/urandom > /x; busybox sync";
        let commands: [&[&str]; 5] = [
            &["run", "--name", &name, "--network", "none", "box", "sh", "-c", script],
            &["commit", &name, &image],
            &["load", "-i", archive],
            &["tag", "box", &image],
            &["rm", "-f", &name],
        ];
        for words in commands {
            let (status, err) = plim(words);
            assert!(!err.contains("panicked") && status != 101 && status != 134, "{words:?}: {status} {err}");
            failed += u32::from(status != 0);
        }
        // Its own failure is what is wanted: it makes the kernel write.
        let _ = does("sync", &["-f", place]);
    }
    assert!(failed > 0, "the disk did not fail");
    // Whatever cannot be read now is not given up for that.
    plim(&["system", "check", "--repair"]);

    fs::remove_file(&filler).unwrap();
    does("umount", &[place]).unwrap();
    does("e2fsck", &["-fy", disk]).unwrap();
    does("mount", &["-o", "loop", disk, place]).unwrap();
    let containers = Path::new(place).join("containers");
    for entry in fs::read_dir(&containers).unwrap().flatten() {
        let (id, text) = (entry.file_name(), fs::read(entry.path().join("record.json")));
        if text.is_ok_and(|text| serde_json::from_slice::<serde_json::Value>(&text).is_err()) {
            works(&["rm", "-f", id.to_str().unwrap()]);
        }
    }
    plim(&["system", "check", "--repair"]);
    works(&["system", "check"]);
    works(&["run", "--rm", "--network", "none", "box", "true"]);
    works(&["cp", "before:/kept", shop.path("kept").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(shop.path("kept")).unwrap(), "kept\n");
}
