//! What a file costs more on an overlay than on the file system below it.

use std::fs;
use std::path::{Path, PathBuf};

use harness::check::Trouble;
use harness::run::Run;
use harness::stage::Stage;
use reports::bench::Measured;
use serde_json::Value;

use crate::paired::{Contestant, compare};

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

/// Measures on mounts of a stage, which no other process sees.
///
/// # Errors
/// The base cannot be measured.
pub fn overlays(run: &Run, name: &str, rounds: usize) -> Result<Measured, String> {
    // Short: mount(2) takes the paths of all layers in one page.
    let number = OVERLAYS.iter().position(|row| *row == name).unwrap_or_default();
    let dir = run.dir().join(number.to_string());
    let field = Field { stage: Stage::new(run.id()).map_err(Trouble::into_text)?.into(), dir };
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
    stage: std::cell::RefCell<Stage>,
    dir: PathBuf,
}

impl Field {
    fn ask(&self, words: &[&str]) -> Result<Value, String> {
        self.stage.borrow_mut().ask(words).map_err(Trouble::into_text)
    }

    /// So many operations in a directory; microseconds of one.
    fn bench(&self, operation: &str, times: u32, dir: &Path) -> Result<f64, String> {
        let answer = self.ask(&["bench", operation, &times.to_string(), &dir.display().to_string()])?;
        let total = answer.as_f64().ok_or_else(|| format!("{operation}: the answer is no number"))?;
        Ok(total / f64::from(times) / 1e3)
    }

    fn made(&self, name: &str) -> Result<PathBuf, String> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).map_err(|error| format!("making {}: {error}", dir.display()))?;
        Ok(dir)
    }

    /// A fresh writable layer over these; gone when the work is done.
    fn mounted(
        &self,
        lowers: &[PathBuf],
        work: impl FnOnce(&Path) -> Result<f64, String>,
    ) -> Result<f64, String> {
        let text = |path: &PathBuf| path.display().to_string();
        let [upper, space, merged] =
            [self.made("top/upper")?, self.made("top/work")?, self.made("top/merged")?];
        let below: Vec<String> = lowers.iter().map(text).collect();
        self.ask(&["stack", &below.join(":"), &text(&upper), &text(&space), &text(&merged)])?;
        let done = work(&merged);
        let unmounted = self.ask(&["unmount", &text(&merged)]);
        fs::remove_dir_all(self.dir.join("top"))
            .map_err(|error| format!("removing the top layer: {error}"))?;
        unmounted.and(done)
    }

    fn file(&self, name: &str, operation: &str, times: u32, rounds: usize) -> Result<Measured, String> {
        let lower = self.made("lower")?;
        // What is read lies in the lower layer; what is written is made in the upper one by the first round.
        if operation == "file-read" {
            self.bench(operation, 1, &lower)?;
        }
        let (upper, space, merged) = (self.made("upper")?, self.made("work")?, self.made("merged")?);
        let [lower, upper, space, at] =
            [&lower, &upper, &space, &merged].map(|path| path.display().to_string());
        self.ask(&["stack", &lower, &upper, &space, &at])?;
        let mut number = 0;
        let mut contestants = Contestant::bases("raw", || {
            number += 1;
            let dir = self.dir.join(format!("raw-{number}"));
            move || self.bench(operation, times, &dir)
        });
        contestants.push(Contestant::new("overlay", || self.bench(operation, times, &merged)));
        compare(name, "us", rounds, &mut contestants)
    }

    /// Opening files of a lower layer for writing, against copying files of the same size.
    fn copy_up(&self, name: &str, size: usize, files: u32, rounds: usize) -> Result<Measured, String> {
        let lower = self.made("lower")?;
        for number in 0..files {
            let path = lower.join(format!("f{number}"));
            fs::write(&path, vec![0x5a; size])
                .map_err(|error| format!("writing {}: {error}", path.display()))?;
        }
        let copied = || {
            let took = self.bench("copy-files", files, &lower);
            for number in 0..files {
                let _ = fs::remove_file(lower.join(format!("c{number}")));
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
    fn lookup(&self, name: &str, rounds: usize) -> Result<Measured, String> {
        let lowest = self.made("z")?;
        for number in 0..NAMES {
            let path = lowest.join(format!("f{number}"));
            fs::write(&path, "x").map_err(|error| format!("writing {}: {error}", path.display()))?;
        }
        let stack = |layers: usize| -> Result<Vec<PathBuf>, String> {
            let above: Result<Vec<PathBuf>, String> =
                (1..layers).map(|number| self.made(&format!("{number}"))).collect();
            above.map(|above| above.into_iter().chain([lowest.clone()]).collect())
        };
        let measured = |layers: Vec<PathBuf>| {
            move || self.mounted(&layers, |merged| self.bench("stat-all", NAMES, merged))
        };
        let one = stack(1)?;
        let mut contestants = Contestant::bases("1 layer", || measured(one.clone()));
        for layers in [8, 32, 64, 128] {
            contestants.push(Contestant::new(format!("{layers} layers"), measured(stack(layers)?)));
        }
        compare(name, "us", rounds, &mut contestants)
    }
}
