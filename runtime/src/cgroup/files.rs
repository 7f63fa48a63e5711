//! Reading and writing control files, and removing groups.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use crate::deadline::Deadline;
use crate::error::{Doing, Result};
use crate::kernel_file;

/// Writes one value, in one write(2): the kernel reads a control file's value from a single call.
pub(super) fn write(dir: &Path, file: &str, value: &str) -> Result<()> {
    let path = dir.join(file);
    fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|mut opened| opened.write_all(value.as_bytes()))
        .doing(|| format!("writing '{value}' to {}", path.display()))
}

/// Reads a file without its final newline; `None` if it is not there.
pub(super) fn read(dir: &Path, file: &str) -> Option<String> {
    kernel_file::read(dir.join(file)).ok().map(|text| text.trim_end().to_owned())
}

/// Reads a single number.
pub(super) fn number(dir: &Path, file: &str) -> Option<u64> {
    read(dir, file)?.parse().ok()
}

/// Reads one entry of a file of `key value` lines.
pub(super) fn keyed(dir: &Path, file: &str, key: &str) -> Option<u64> {
    value(&read(dir, file)?, key)
}

/// One entry of the text of such a file. What belongs together must come from one text: between two reads the kernel
/// may count on.
pub(super) fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

/// All entries of such a file.
pub(super) fn table(dir: &Path, file: &str) -> std::collections::BTreeMap<String, u64> {
    let text = read(dir, file).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?))).collect()
}

/// The processes of a group and of those below it.
pub(super) fn processes_below(dir: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = read(dir, "cgroup.procs")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        // 0 stands for a process that this PID namespace does not see.
        .filter(|pid| *pid != 0)
        .collect();
    for child in children(dir) {
        found.extend(processes_below(&child));
    }
    found
}

/// Removes a group and those below it, deepest first, waiting a while for dying processes to leave.
pub(super) fn remove_below(dir: &Path, patience: Duration) -> Result<()> {
    // Most are empty and have none below.
    if fs::remove_dir(dir).is_ok() {
        return Ok(());
    }
    for child in children(dir) {
        remove_below(&child, patience)?;
    }
    let deadline = Instant::now() + patience;
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // A killed process leaves its group a moment before it can be reaped. v1 has no event for that.
            Err(error)
                if error.kind() == ErrorKind::ResourceBusy
                    && Instant::now() < deadline
                    && (processes_below(dir).is_empty() || all_dying(dir)) =>
            {
                std::thread::sleep(Duration::from_micros(200));
            }
            removed => return removed.doing(|| format!("removing the cgroup {}", dir.display())),
        }
    }
}

/// Waits until a key of `cgroup.events` has a value; the kernel announces each change with POLLPRI.
pub(super) fn wait_event(dir: &Path, key: &str, value: u64, patience: Duration) -> Result<bool> {
    let path = dir.join("cgroup.events");
    let events = fs::File::open(&path).doing(|| format!("opening {}", path.display()))?;
    let deadline = Deadline::after(patience);
    loop {
        // The open file must be read itself, or poll keeps reporting the old change.
        let mut text = String::new();
        std::io::Read::read_to_string(&mut &events, &mut text)
            .doing(|| format!("reading {}", path.display()))?;
        std::io::Seek::rewind(&mut &events).doing(|| format!("rewinding {}", path.display()))?;
        if text.lines().any(|line| line == format!("{key} {value}")) {
            return Ok(true);
        }
        if deadline.has_passed() {
            return Ok(false);
        }
        poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], deadline.timeout())
            .doing(|| format!("waiting for {}", path.display()))?;
    }
}

fn children(dir: &Path) -> Vec<std::path::PathBuf> {
    // kernfs counts the directories below as links, and to read all names takes much longer.
    if fs::metadata(dir).is_ok_and(|metadata| metadata.nlink() == 2) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Whether every process left is a zombie or dead already.
fn all_dying(dir: &Path) -> bool {
    processes_below(dir).into_iter().all(|pid| {
        kernel_file::read(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with(['Z', 'X'])))
            .unwrap_or(true)
    })
}
