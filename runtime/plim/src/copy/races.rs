//! A container exchanges a name with a link to the host while `cp` works, in either direction. `PLIM_RACES` says how many copies must
//! have met an exchange (2,000 without it).

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{RenameFlags, renameat_with};

use super::*;

const SECRET: &str = "a secret of the host";

fn wanted() -> u64 {
    std::env::var("PLIM_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// Exchanges two names without a pause while `copy` is made again and again; that says whether it was made. Returns how many copies
/// that met an exchange were made, and how many were refused.
fn race(dir: &Path, names: [&str; 2], mut copy: impl FnMut() -> bool) -> [u64; 2] {
    let opened = fs::File::open(dir).unwrap();
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut met = [0, 0];
    let end = Instant::now() + Duration::from_secs(60 + wanted() / 20);
    let mut work = || {
        while met.iter().sum::<u64>() < wanted() || met.contains(&0) {
            assert!(Instant::now() < end, "{met:?}, {} exchanges", swaps.load(Ordering::Relaxed));
            let before = swaps.load(Ordering::Relaxed);
            let is_made = copy();
            if swaps.load(Ordering::Relaxed) > before {
                met[usize::from(!is_made)] += 1;
            }
        }
    };
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // A copy replaces what has the name, so for a moment there may be one of the two alone.
                if renameat_with(&opened, names[0], &opened, names[1], RenameFlags::EXCHANGE).is_ok() {
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
                // Without a pause the kernel has no moment in which a path leads anywhere.
                std::thread::sleep(Duration::from_micros(10));
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut work));
        stop.store(true, Ordering::Relaxed);
        done
    });
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    met
}

/// A root file system with `/x/dir/file`, and a directory of the host beside it.
fn scene() -> Option<(tempfile::TempDir, PathBuf, PathBuf)> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: copies keep their owners: needs root");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, host) = (dir.path().join("root"), dir.path().join("host"));
    fs::create_dir_all(root.join("x/dir")).unwrap();
    fs::create_dir(&host).unwrap();
    fs::write(root.join("x/dir/file"), "inside").unwrap();
    fs::write(root.join("x/file"), "inside").unwrap();
    fs::write(host.join("file"), SECRET).unwrap();
    Some((dir, root, host))
}

#[test]
fn what_comes_out_of_a_container_is_never_the_hosts() {
    let Some((_dir, root, host)) = scene() else { return };
    let inside = Root::open(&root).unwrap();
    symlink(&host, root.join("x/other-dir")).unwrap();
    symlink(host.join("file"), root.join("x/other-file")).unwrap();
    let to_archive = |path: &str, follow: bool| {
        let mut archive = Vec::new();
        let copied = Source::inside(&inside, Path::new(path), follow)
            .and_then(|source| source.write(&Style::default(), &mut archive));
        assert!(!archive.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
        copied.is_ok() && archive.windows(6).any(|window| window == b"inside")
    };
    for (what, names, path, follow) in [
        ("a file", ["file", "other-file"], "/x/file", false),
        ("a file, followed", ["file", "other-file"], "/x/file", true),
        ("through a directory", ["dir", "other-dir"], "/x/dir/file", false),
        ("a directory", ["dir", "other-dir"], "/x/dir", false),
        ("what is in a directory", ["dir", "other-dir"], "/x/dir/.", false),
    ] {
        let met = race(&root.join("x"), names, || to_archive(path, follow));
        println!("cp out, {what}: {} made, {} not, no escape", met[0], met[1]);
    }
}

#[test]
fn what_goes_into_a_container_never_comes_to_the_host() {
    let Some((dir, root, host)) = scene() else { return };
    let inside = Root::open(&root).unwrap();
    symlink(&host, root.join("x/other-dir")).unwrap();
    symlink(host.join("file"), root.join("x/other-file")).unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("dir")).unwrap();
    fs::write(from.join("new"), "from outside").unwrap();
    fs::write(from.join("dir/new"), "from outside").unwrap();
    let before = fs::metadata(&host).unwrap();
    for (what, names, source, target) in [
        ("into a directory", ["dir", "other-dir"], "new", "/x/dir/"),
        ("under a name in a directory", ["dir", "other-dir"], "new", "/x/dir/name"),
        ("a directory over another", ["dir", "other-dir"], "dir", "/x"),
        ("over a file", ["file", "other-file"], "new", "/x/file"),
    ] {
        let met = race(&root.join("x"), names, || {
            let source = Source::here(&from.join(source), false).unwrap();
            let copied = Target::inside(&inside, Path::new(target), &source).and_then(|target| {
                source.copy_to(&target, &Style { mounts: Mounts::All, ..Style::default() })
            });
            let there: Vec<_> =
                fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(there, ["file"], "{what}");
            // A copy may have replaced the link.
            let is_link = |name: &&str| root.join("x").join(name).is_symlink();
            if names[0] == "file" && !names.iter().any(is_link) {
                let _ = fs::remove_file(root.join("x").join(names[1]));
                let _ = symlink(host.join("file"), root.join("x").join(names[1]));
            }
            copied.is_ok()
        });
        println!("cp in, {what}: {} made, {} not, no escape", met[0], met[1]);
    }
    assert_eq!(fs::read_to_string(host.join("file")).unwrap(), SECRET);
    use std::os::unix::fs::MetadataExt;
    let after = fs::metadata(&host).unwrap();
    assert_eq!(
        (after.mode(), after.mtime(), after.mtime_nsec()),
        (before.mode(), before.mtime(), before.mtime_nsec())
    );
}
