//! What a file costs more on an overlay than on the file system below it, a tmpfs: what a disk's file system makes of a directory
//! depends on where on the disk it lies, and was seen to differ by half from one session to the next.

use std::fs;
use std::path::{Path, PathBuf};

use kit::fake_host::FakeHost;
use kit::run::Run;
use kit::verbs::{Ask, files, measure};
use record::bench::Measured;

use crate::error::{Doing, Error};
use crate::paired::{Contestant, compare, of_one};

/// Rows.
pub const OVERLAYS: [&str; 7] = [
    "overlay-read-64k",
    "overlay-write-4k",
    "overlay-create-unlink",
    "copy-up-4k",
    "copy-up-1m",
    "copy-up-64m",
    "lookup-by-layers",
];

/// Names that are looked up, each once: the second look finds it in memory.
const NAMES: u32 = 200;

/// Measures on mounts of a fake host, which no other process sees.
///
/// # Errors
/// The base cannot be measured.
pub fn overlays(run: &Run, name: &str, rounds: usize) -> Result<Measured, Error> {
    // Short: mount(2) takes the paths of all layers in one page.
    let number = OVERLAYS.iter().position(|row| *row == name).unwrap_or_default();
    let field = Field::new(run, run.dir().join(number.to_string()))?;
    match name {
        "overlay-read-64k" => field.file(name, "file-read", 64, rounds),
        "overlay-write-4k" => field.file(name, "file-write", 512, rounds),
        "overlay-create-unlink" => field.file(name, "create-unlink", 64, rounds),
        "copy-up-4k" => field.copy_up(name, 4 << 10, 64, rounds),
        "copy-up-1m" => field.copy_up(name, 1 << 20, 8, rounds),
        "copy-up-64m" => field.copy_up(name, 64 << 20, 1, rounds),
        _ => field.lookup(name, rounds),
    }
}

struct Field {
    host: std::cell::RefCell<FakeHost>,
    dir: PathBuf,
}

impl Field {
    fn new(run: &Run, dir: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&dir).doing(|| format!("making {}", dir.display()))?;
        let host = FakeHost::new(run.id())?;
        let field = Self { host: host.into(), dir };
        field.ask(files::mount(&field.dir.display().to_string()))?;
        Ok(field)
    }

    /// Where this process finds what the fake host alone has mounted.
    fn seen(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.host.borrow().pid());
        Path::new(&root).join(path.strip_prefix("/").unwrap_or(path))
    }

    fn ask<A: Ask>(&self, request: A) -> Result<A::Answer, Error> {
        self.host.borrow_mut().ask(request).map_err(Error::from)
    }

    /// So many operations in a directory; microseconds of one.
    fn bench(&self, operation: &str, times: u32, dir: &Path) -> Result<f64, Error> {
        let took = self.ask(measure::bench(operation, times, &dir.display().to_string()))?;
        Ok(of_one(took, times) / 1e3)
    }

    fn made(&self, name: &str) -> Result<PathBuf, Error> {
        let dir = self.dir.join(name);
        fs::create_dir_all(self.seen(&dir)).doing(|| format!("making {}", dir.display()))?;
        Ok(dir)
    }

    /// A fresh writable layer over these; gone when the work is done.
    fn mounted(
        &self,
        lowers: &[PathBuf],
        work: impl FnOnce(&Path) -> Result<f64, Error>,
    ) -> Result<f64, Error> {
        let text = |path: &PathBuf| path.display().to_string();
        let [upper, space, merged] =
            [self.made("top/upper")?, self.made("top/work")?, self.made("top/merged")?];
        let below: Vec<String> = lowers.iter().map(text).collect();
        self.ask(files::stack(&below.join(":"), &text(&upper), &text(&space), &text(&merged)))?;
        let done = work(&merged);
        let unmounted = self.ask(files::unmount(&text(&merged)));
        fs::remove_dir_all(self.seen(&self.dir.join("top"))).doing(|| "removing the top layer")?;
        unmounted.and(done)
    }

    fn file(&self, name: &str, operation: &str, times: u32, rounds: usize) -> Result<Measured, Error> {
        let lower = self.made("lower")?;
        // What is read lies in the lower layer; what is written is made in the upper one by the first round.
        if operation == "file-read" {
            self.bench(operation, 1, &lower)?;
        }
        let (upper, space, merged) = (self.made("upper")?, self.made("work")?, self.made("merged")?);
        let [lower, upper, space, at] =
            [&lower, &upper, &space, &merged].map(|path| path.display().to_string());
        self.ask(files::stack(&lower, &upper, &space, &at))?;
        // The same files for all three: where they lie on the disk is no difference to be found.
        let raw = self.dir.join("raw");
        let mut contestants = Contestant::bases("raw", || || self.bench(operation, times, &raw));
        contestants.push(Contestant::new("overlay", || self.bench(operation, times, &merged)));
        compare(name, "us", rounds, &mut contestants)
    }

    /// Opening files of a lower layer for writing, against copying files of the same size.
    fn copy_up(&self, name: &str, size: usize, files: u32, rounds: usize) -> Result<Measured, Error> {
        let lower = self.made("lower")?;
        for number in 0..files {
            let path = self.seen(&lower.join(format!("f{number}")));
            fs::write(&path, vec![0x5a; size]).doing(|| format!("writing {}", path.display()))?;
        }
        let copied = || {
            let took = self.bench("copy-files", files, &lower);
            for number in 0..files {
                let _ = fs::remove_file(self.seen(&lower.join(format!("c{number}"))));
            }
            took
        };
        let mut contestants = Contestant::bases("a copy", || copied);
        contestants.push(Contestant::new("copy-up", || {
            self.mounted(std::slice::from_ref(&lower), |merged| self.bench("open-to-write", files, merged))
        }));
        compare(name, "us", rounds, &mut contestants)
    }

    /// Names of the lowest of many layers.
    fn lookup(&self, name: &str, rounds: usize) -> Result<Measured, Error> {
        let mut contestants = Contestant::bases("1 layer", || || self.looked_up(1));
        for layers in [8, 32, 64, 128] {
            contestants.push(Contestant::new(format!("{layers} layers"), move || self.looked_up(layers)));
        }
        compare(name, "us", rounds, &mut contestants)
    }

    /// In layers that are made for it: which of their names fall together in the kernel's tables is chance, and should be another
    /// one in each round.
    fn looked_up(&self, layers: usize) -> Result<f64, Error> {
        let lowest = self.made("l/z")?;
        for number in 0..NAMES {
            let path = self.seen(&lowest.join(format!("f{number}")));
            fs::write(&path, "x").doing(|| format!("writing {}", path.display()))?;
        }
        let above: Result<Vec<PathBuf>, Error> =
            (1..layers).map(|number| self.made(&format!("l/{number}"))).collect();
        let stack: Vec<PathBuf> = above?.into_iter().chain([lowest]).collect();
        let took = self.mounted(&stack, |merged| self.bench("stat-all", NAMES, merged))?;
        let gone = fs::remove_dir_all(self.seen(&self.dir.join("l")));
        gone.doing(|| "removing the layers")?;
        Ok(took)
    }
}
