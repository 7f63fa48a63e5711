//! Writes to control files that can be taken back: a change of several limits is made as a whole or not at all.

use std::path::{Path, PathBuf};

use super::files;
use crate::error::Result;

/// What was written so far.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// What stood there before; `None` where nobody will ask for it.
    old: Option<Vec<Old>>,
}

#[derive(Debug)]
struct Old {
    dir: PathBuf,
    file: String,
    value: String,
}

impl Changes {
    /// Changes that can be taken back.
    pub(super) fn recorded() -> Self {
        Self { old: Some(Vec::new()) }
    }

    /// Writes a value.
    pub(super) fn write(&mut self, dir: &Path, file: &str, value: &str) -> Result<()> {
        let before = self.old.as_ref().and_then(|_| files::read(dir, file));
        files::write(dir, file, value)?;
        if let (Some(old), Some(text)) = (&mut self.old, before)
            && let Some(value) = undoing(file, value, &text)
        {
            old.push(Old { dir: dir.to_owned(), file: file.to_owned(), value });
        }
        Ok(())
    }

    /// Writes a value if there is one.
    pub(super) fn write_some(&mut self, dir: &Path, file: &str, value: Option<&impl ToString>) -> Result<()> {
        value.map_or(Ok(()), |value| self.write(dir, file, &value.to_string()))
    }

    /// Takes everything back, the last first. Values may depend on one another, so what the kernel refuses is tried again.
    pub(super) fn undo(self) {
        let mut left: Vec<Old> = self.old.into_iter().flatten().rev().collect();
        for _ in 0..2 {
            left.retain(|old| files::write(&old.dir, &old.file, &old.value).is_err());
        }
    }
}

/// What to write to undo a write, given what the file showed before. A file of many devices takes one at a time.
fn undoing(file: &str, written: &str, before: &str) -> Option<String> {
    let of_device =
        |device: &str| before.lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(' '));
    let device = written.split(' ').next()?;
    if file == "memory.oom_control" {
        return files::value(before, "oom_kill_disable").map(|value| value.to_string());
    }
    if file.starts_with("blkio.throttle.") || file.ends_with("weight_device") {
        return Some(format!("{device} {}", of_device(device).unwrap_or("0")));
    }
    if file == "io.max" || file == "rdma.max" {
        let keys = written.split(' ').skip(1).filter_map(|pair| pair.split('=').next());
        let old = of_device(device).unwrap_or_default();
        let pairs: Vec<String> = keys
            .map(|key| {
                let value = old.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
                format!("{key}={}", value.unwrap_or("max"))
            })
            .collect();
        return Some(format!("{device} {}", pairs.join(" ")));
    }
    if file.ends_with("weight") && before.contains("default") {
        let old = if device.contains(':') { of_device(device) } else { of_device("default") };
        let target = if device.contains(':') { device } else { "default" };
        return Some(format!("{target} {}", old.unwrap_or("default")));
    }
    Some(before.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_known_for_each_kind_of_file() {
        for (file, written, before, expected) in [
            ("cpu.shares", "5", "1024", "1024"),
            ("cpu.max", "5 100000", "max 100000", "max 100000"),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0", "0"),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:0 7\n8:16 9", "8:0 7"),
            ("blkio.throttle.read_bps_device", "8:0 5", "", "8:0 0"),
            ("io.max", "8:0 rbps=5", "8:0 rbps=7 wbps=max", "8:0 rbps=7"),
            ("io.max", "8:0 riops=5", "", "8:0 riops=max"),
            ("io.weight", "50", "default 100\n8:0 200", "default 100"),
            ("io.bfq.weight", "8:0 50", "default 100\n8:0 200", "8:0 200"),
            ("io.bfq.weight", "8:16 50", "default 100", "8:16 default"),
        ] {
            assert_eq!(undoing(file, written, before).as_deref(), Some(expected), "{file} {written}");
        }
    }

    #[test]
    fn all_is_as_it_was_after_undo() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        std::fs::write(dir.path().join("b"), "2").unwrap();
        let mut changes = Changes::recorded();
        changes.write(dir.path(), "a", "5").unwrap();
        changes.write(dir.path(), "b", "6").unwrap();
        changes.write(dir.path(), "a", "7").unwrap();
        assert!(changes.write(dir.path(), "missing", "8").is_err());
        changes.undo();
        let read = |file| files::read(dir.path(), file).unwrap();
        assert_eq!((read("a"), read("b")), ("1".into(), "2".into()));
    }
}
