//! A neighbour who shares a volume swaps mount points with links while containers start: `renameat2` with RENAME_EXCHANGE, as fast as
//! it can. `PLIM_RACES` says how many starts must have met a swap (20 without it).

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::bundle::Bundle;

/// Swaps two names until it is dropped.
struct Swapper {
    swaps: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn start(one: &Path, other: &Path) -> Self {
        let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
        let (one, other) = (name(one), name(other));
        let (swaps, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (Arc::clone(&swaps), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                renameat_with(CWD, one.as_c_str(), CWD, other.as_c_str(), RenameFlags::EXCHANGE).unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { swaps, stop, thread: Some(thread) }
    }

    fn count(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn wanted() -> u64 {
    std::env::var("PLIM_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// A volume that a neighbour shares, a directory and a file beside it that are to be mounted into it, and what must not be reached.
struct Scene {
    bundle: Bundle,
    volume: PathBuf,
    outside: PathBuf,
}

impl Scene {
    fn new() -> Option<Self> {
        let mut bundle = Bundle::new()?;
        let volume = bundle.dir.path().join("volume");
        let outside = bundle.dir.path().join("outside");
        for dir in [&volume, &outside, &bundle.dir.path().join("source")] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(bundle.dir.path().join("source.file"), "source").unwrap();
        fs::write(outside.join("file"), "host").unwrap();
        bundle.mount("/sh", "bind", &volume, &["rbind", "rw"]);
        bundle.unmount("/sys/fs/cgroup").script("cat /proc/self/mountinfo");
        Some(Self { bundle, volume, outside })
    }

    /// Starts containers until enough of them have met a swap; `check` gets the lines of the mounts inside the volume.
    fn race(&self, swap: [&str; 2], mut check: impl FnMut(&[Line])) {
        let swapper = Swapper::start(&self.volume.join(swap[0]), &self.volume.join(swap[1]));
        let (mut met, mut refused, mut starts, mut swaps) = (0, 0, 0, 0);
        while met < wanted() {
            let before = swapper.count();
            let output = self.bundle.run();
            starts += 1;
            if swapper.count() == before {
                continue;
            }
            met += 1;
            swaps += swapper.count() - before;
            if output.status.success() {
                let text = String::from_utf8(output.stdout).unwrap();
                let lines: Vec<Line> = text.lines().map(Line::read).collect();
                let inside: Vec<Line> =
                    lines.into_iter().filter(|line| line.point.starts_with("/sh/")).collect();
                check(&inside);
            } else {
                refused += 1;
            }
        }
        let left: Vec<_> = fs::read_dir(&self.outside).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "something was made outside: {left:?}");
        assert_eq!(fs::read_to_string(self.outside.join("file")).unwrap(), "host");
        println!("{starts} starts, {met} met {swaps} swaps, {refused} refused");
        assert!(refused < met, "nothing was ever mounted");
    }
}

/// What /proc/self/mountinfo says of one mount.
#[derive(Debug)]
struct Line {
    point: String,
    flags: String,
}

impl Line {
    fn read(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        Self { point: fields[4].into(), flags: fields[5].into() }
    }

    fn is_read_only(&self) -> bool {
        self.flags.split(',').any(|flag| flag == "ro")
    }
}

#[test]
fn a_read_only_mount_is_read_only_wherever_it_lands() {
    let Some(mut scene) = Scene::new() else { return };
    let source = scene.bundle.dir.path().join("source");
    fs::create_dir(scene.volume.join("p")).unwrap();
    fs::create_dir(scene.volume.join("other")).unwrap();
    symlink("/sh/other", scene.volume.join("link")).unwrap();
    scene.bundle.mount("/sh/p", "bind", &source, &["rbind", "ro", "rprivate"]);
    let mut seen = [0, 0];
    scene.race(["p", "link"], |mounts| {
        // Once it was attached, the swap may have carried it to the other name.
        assert!(mounts.len() == 1 && mounts[0].is_read_only(), "{mounts:?}");
        seen[usize::from(mounts[0].point == "/sh/other")] += 1;
    });
    println!("{} times at its name or carried away with it, {} times through the link", seen[0], seen[1]);
}

#[test]
fn a_mount_point_never_lies_outside_of_the_root() {
    let Some(mut scene) = Scene::new() else { return };
    let source = scene.bundle.dir.path().join("source");
    fs::create_dir(scene.volume.join("p")).unwrap();
    symlink(&scene.outside, scene.volume.join("link")).unwrap();
    // A directory that has to be made, behind a name that is a directory or a link out.
    scene.bundle.mount("/sh/p/new/deep", "bind", &source, &["rbind", "ro", "rprivate"]);
    scene.race(["p", "link"], |mounts| {
        // Through the link it lies in the root, where the link leads inside.
        assert!(mounts.len() <= 1 && mounts.iter().all(Line::is_read_only), "{mounts:?}");
    });
}

#[test]
fn a_file_is_never_mounted_over_one_of_the_host() {
    let Some(mut scene) = Scene::new() else { return };
    let source = scene.bundle.dir.path().join("source.file");
    fs::write(scene.volume.join("p"), "neighbour").unwrap();
    symlink(scene.outside.join("file"), scene.volume.join("link")).unwrap();
    fs::create_dir_all(scene.bundle.rootfs().join(scene.outside.strip_prefix("/").unwrap())).unwrap();
    scene.bundle.mount("/sh/p", "bind", &source, &["bind", "ro", "rprivate"]);
    scene.race(["p", "link"], |mounts| {
        assert!(mounts.len() <= 1 && mounts.iter().all(Line::is_read_only), "{mounts:?}");
    });
}
