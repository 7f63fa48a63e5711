//! Somebody exchanges names of the context while it is copied: a file or directory with a link to the host, a pipe, a device without
//! end. `PLIM_RACES` says how many copies must have met an exchange (2,000 without it), for each instruction.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};

use super::*;

const SECRET: &str = "a secret of the host";
const INSIDE: &str = "inside";

/// Between two exchanges: a fraction of what a copy takes.
const PAUSE: Duration = Duration::from_micros(10);

/// What stands beside the right thing, under the name that it is exchanged with.
const OTHERS: [&str; 3] = ["link", "pipe", "device"];

fn wanted() -> u64 {
    std::env::var("PLIM_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// A context with `file`, `dir/file`, `archive`, and with a secret beside it.
struct Yard {
    dir: tempfile::TempDir,
}

impl Yard {
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: copies belong to root");
            return None;
        }
        let yard = Self { dir: tempfile::tempdir().unwrap() };
        for (place, text) in [("context", INSIDE), ("host", SECRET)] {
            let dir = yard.at(place);
            fs::create_dir_all(dir.join("dir")).unwrap();
            fs::write(dir.join("file"), text).unwrap();
            fs::write(dir.join("dir/file"), text).unwrap();
            fs::write(dir.join("archive"), archive_of(text)).unwrap();
        }
        Some(yard)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts something else beside a name of the context, as `other`.
    fn beside(&self, name: &str, kind: &str) {
        let other = self.at("context/other");
        let node = |kind, device| mknodat(CWD, &other, kind, Mode::from_raw_mode(0o666), device).unwrap();
        match kind {
            "link" => symlink(self.at("host").join(name), &other).unwrap(),
            "pipe" => node(FileType::Fifo, 0),
            _ => node(FileType::CharacterDevice, makedev(1, 5)),
        }
    }

    fn tree(&self) -> Tree {
        Tree {
            root: Root::open(&self.at("context")).unwrap(),
            ignore: Ignore::default(),
            shown: "the context".into(),
        }
    }
}

fn archive_of(text: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "file", text.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}

fn copying<'t>(tree: &'t Tree, source: &str, target: &str, adds: bool) -> Copying<'t> {
    Copying {
        tree,
        sources: vec![From::Path(source.to_owned())],
        target: target.to_owned(),
        chown: None,
        mode: None,
        keeps_owner: false,
        adds,
        checksum: None,
        exclude: Vec::new(),
        scratch: PathBuf::new(),
    }
}

/// How copies ended that met an exchange.
#[derive(Debug, Default)]
struct Met {
    done: u64,
    refused: u64,
}

/// Exchanges two names without a pause while something is done, which is told how often that happened.
fn while_exchanged<T>(context: &Path, names: [&str; 2], work: impl FnOnce(&AtomicU64) -> T) -> T {
    let dir = fs::File::open(context).unwrap();
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(&dir, names[0], &dir, names[1], RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
                // Without a pause the kernel has no moment in which a path leads anywhere, and looks again and again.
                std::thread::sleep(PAUSE);
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&swaps)));
        stop.store(true, Ordering::Relaxed);
        done
    });
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Makes a copy again and again while two names are exchanged; `copy` says whether it was made.
fn race(context: &Path, names: [&str; 2], wanted: u64, mut copy: impl FnMut() -> bool) -> Met {
    while_exchanged(context, names, |swaps| {
        let mut met = Met::default();
        let end = Instant::now() + Duration::from_secs(60 + wanted / 20);
        // Both must have been seen, or the exchanges miss what they are for.
        while met.done + met.refused < wanted || met.done == 0 || met.refused == 0 {
            assert!(Instant::now() < end, "{met:?}, {} exchanges", swaps.load(Ordering::Relaxed));
            let before = swaps.load(Ordering::Relaxed);
            let is_done = copy();
            if swaps.load(Ordering::Relaxed) > before {
                *(if is_done { &mut met.done } else { &mut met.refused }) += 1;
            }
        }
        met
    })
}

/// What came of a copy: nothing of the host, and whole if it is a file. Says whether it is one.
fn look_at(path: &Path) -> bool {
    let kind = fs::symlink_metadata(path).unwrap().file_type();
    if kind.is_file() {
        assert_eq!(fs::read_to_string(path).unwrap(), INSIDE);
    } else {
        // What was in its place is copied as what it is.
        assert!(kind.is_fifo() || kind.is_char_device(), "{kind:?}");
    }
    kind.is_file()
}

/// One way to copy.
struct Way {
    what: &'static str,
    /// What is exchanged.
    name: &'static str,
    source: &'static str,
    target: &'static str,
    adds: bool,
    /// Where it comes to lie: the file, or what was in its place.
    arrives: [&'static str; 2],
}

/// Races ways to copy with all that a name may be exchanged with: together they meet as many exchanges as are wanted.
fn race_all(ways: &[Way]) {
    let each = wanted().div_ceil((ways.len() * OTHERS.len()) as u64);
    for (way, kind) in ways.iter().flat_map(|way| OTHERS.map(|kind| (way, kind))) {
        let Some(yard) = Yard::new() else { return };
        let tree = yard.tree();
        yard.beside(way.name, kind);
        let copying = copying(&tree, way.source, way.target, way.adds);
        let root = yard.at("root");
        let met = race(&yard.at("context"), [way.name, "other"], each, || {
            fs::create_dir(&root).unwrap();
            let copied = copying.copy_to(&Root::open(&root).unwrap());
            let arrived = way.arrives.map(|place| root.join(place));
            let arrived = arrived.iter().find(|place| place.symlink_metadata().is_ok());
            if let Err(error) = &copied {
                assert!(!error.to_string().contains(SECRET), "{error}");
            }
            // What was copied before a failure is no more than what was asked for.
            let is_file = arrived.is_some_and(|place| look_at(place));
            fs::remove_dir_all(&root).unwrap();
            assert!(copied.is_err() || arrived.is_some(), "{}: nothing arrived", way.what);
            copied.is_ok() && is_file
        });
        println!("{}, exchanged with a {kind}: {met:?}, no escape", way.what);
    }
}

#[test]
fn copies_meet_exchanges() {
    let way = |what, name, source| Way {
        what,
        name,
        source,
        target: "/q/",
        adds: false,
        arrives: ["q/file", "q/dir"],
    };
    race_all(&[
        way("COPY of a file", "file", "file"),
        way("COPY through a directory", "dir", "dir/file"),
        way("COPY of a directory", "dir", "dir"),
    ]);
}

#[test]
fn additions_of_an_archive_meet_exchanges() {
    race_all(&[Way {
        what: "ADD of an archive",
        name: "archive",
        source: "archive",
        target: "/q/",
        adds: true,
        arrives: ["q/file", "q/archive"],
    }]);
}

#[test]
fn mounts_of_the_context_meet_exchanges() {
    // RUN --mount=type=bind mounts such a copy.
    let way = |what, name, arrives| Way { what, name, source: name, target: "/data", adds: false, arrives };
    race_all(&[
        way("RUN --mount of a file", "file", ["data", "data"]),
        way("RUN --mount of a directory", "dir", ["data/file", "data"]),
    ]);
}

#[test]
fn what_a_step_depends_on_is_never_the_hosts() {
    for source in ["file", "dir"] {
        let Some(yard) = Yard::new() else { return };
        let tree = yard.tree();
        let host = Tree { root: Root::open(&yard.at("host")).unwrap(), ..yard.tree() };
        let secret = copying(&host, source, "/q/", false).digest().unwrap();
        yard.beside(source, "link");
        let met = race(&yard.at("context"), [source, "other"], wanted() / 2, || {
            copying(&tree, source, "/q/", false).digest().is_ok_and(|digest| {
                assert_ne!(digest, secret);
                true
            })
        });
        println!("key of {source}: {met:?}, no escape");
    }
}

/// A reader that looks at a name and opens it afterwards is deceived by such exchanges: they are quick enough.
#[test]
fn these_exchanges_deceive_who_looks_twice() {
    let Some(yard) = Yard::new() else { return };
    yard.beside("file", "link");
    let path = yard.at("context/file");
    let end = Instant::now() + Duration::from_secs(60);
    while_exchanged(&yard.at("context"), ["file", "other"], |_| {
        loop {
            assert!(Instant::now() < end, "no reader was deceived: the races show nothing");
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
                let mut text = String::new();
                let read = fs::File::open(&path).and_then(|mut file| file.read_to_string(&mut text));
                if read.is_ok() && text == SECRET {
                    return;
                }
            }
        }
    });
}
