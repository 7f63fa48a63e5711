//! A commit against `tar` of the same upper directory, each as a process of its own, on the same file system.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use kit::engine::{BASE, EngineFixture};
use kit::run::Run;
use nix::sys::resource::{UsageWho, getrusage};
use record::bench::Measured;
use subject::Subject;

use crate::error::{Doing, Error};
use crate::fill_upper;
use crate::paired::{Contestant, compare, timed};

/// What is committed.
pub const COMMITS: [&str; 2] = ["commit-small", "commit-large"];

/// Files of a change that has many.
const MANY: usize = 100_000;

/// Bytes of a change that has one file.
const LARGE: usize = 1 << 30;

/// Rounds are long, and few are enough for what takes a second.
const MOST_ROUNDS: usize = 8;

/// Measures `tar`, `tar` again and our own `plim commit`. Beside the times, tells the memory that the largest of them had.
///
/// # Errors
/// The change cannot be made, or there is no `tar`.
pub fn commits(run: &Run, name: &str, rounds: usize) -> Result<Measured, Error> {
    let core = Subject::core()?;
    let engine = core.engine.ok_or_else(|| Error::new("this program has no engine"))?;
    let engine = EngineFixture::new(run, &engine, None, None, name)?;
    engine.base()?;
    let id = engine.command(&["create", "--network", "none", BASE, "/probe"])?;
    let upper = engine.data().join("containers").join(id.trim()).join("upper");
    let filled = if name == "commit-small" { fill_upper(&upper, MANY) } else { fill_large(&upper) };
    filled.doing(|| format!("filling {}", upper.display()))?;
    let archive = engine.path("archive.tar");
    let mut contestants = Contestant::bases("tar", || || tar(&upper, &archive));
    contestants.push(Contestant::new("core", || {
        let took =
            timed(|| engine.command(&["commit", id.trim(), "committed"]).map(drop).map_err(Error::from))?;
        // To write over a file costs more than to write a new one.
        engine.command(&["rmi", "committed"])?;
        Ok(took)
    }));
    let largest = || getrusage(UsageWho::RUSAGE_CHILDREN).map(|usage| usage.max_rss()).doing(|| "getrusage");
    let before = largest()?;
    let measured = compare(name, "us", rounds.min(MOST_ROUNDS), &mut contestants)?;
    drop(contestants);
    // The kernel keeps the largest of all that were waited for; something before may have been larger.
    let after = largest()?;
    if after > before {
        output::errln!("{name}: no process had more than {} MiB of memory", after / 1024);
    }
    Ok(measured)
}

/// Bytes that no compression or hole makes less of.
fn fill_large(upper: &Path) -> std::io::Result<()> {
    let mut random = File::open("/dev/urandom")?.take(LARGE as u64);
    let mut file = File::create(upper.join("large"))?;
    std::io::copy(&mut random, &mut file)?;
    file.flush()
}

fn tar(upper: &Path, archive: &Path) -> Result<f64, Error> {
    let start = Instant::now();
    // By itself tar writes 10 KiB at a time, and would be measured for its system calls.
    let status = Command::new("tar")
        .arg("--blocking-factor=2048")
        .arg("-cf")
        .arg(archive)
        .arg("-C")
        .arg(upper)
        .arg(".")
        .status();
    let took = start.elapsed();
    let _ = fs::remove_file(archive);
    match status {
        Ok(status) if status.success() => Ok(took.as_secs_f64() * 1e6),
        Ok(status) => Err(Error::new(format!("tar: {status}"))),
        Err(error) => Err(Error::new(format!("tar: {error}"))),
    }
}
