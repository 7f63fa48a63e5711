//! Paths and files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::timing::tried;
use crate::failure::{Doing, Done};

/// Bytes of the file that is read and written.
const LENGTH: u64 = 16 << 20;
const READ: usize = 64 << 10;
const WRITTEN: usize = 4 << 10;

pub(super) fn deep(scratch: &Path, depth: u32, times: u32) -> Done<u64> {
    let mut path = scratch.join(format!("deep-{depth}"));
    for level in 1..depth {
        path.push(format!("d{level}"));
    }
    fs::create_dir_all(&path).doing("directories")?;
    path.push("file");
    fs::write(&path, "x").doing("file")?;
    tried(times, || fs::metadata(&path).map(drop))
}

pub(super) fn many_names(scratch: &Path, times: u32) -> Done<u64> {
    let dir = scratch.join("many");
    if !dir.exists() {
        fs::create_dir(&dir).doing("directory")?;
        for number in 0..1000 {
            File::create(dir.join(number.to_string())).doing("file")?;
        }
    }
    tried(times, || {
        let found = fs::read_dir(&dir)?.count();
        if found == 1000 { Ok(()) } else { Err(io::Error::other(format!("{found} names"))) }
    })
}

/// Offsets within the file, one after the other, round and round.
fn offsets(step: usize) -> impl Iterator<Item = u64> {
    (0..LENGTH).step_by(step).cycle()
}

/// Reads what is in the page cache, 64 KiB at a time.
pub(super) fn read_file(scratch: &Path, times: u32) -> Done<u64> {
    let path = scratch.join("large");
    if !path.exists() {
        fs::write(&path, vec![0x5a; 16 << 20]).doing("file")?;
    }
    let file = File::open(&path).doing("file")?;
    let (mut buffer, mut offset) = (vec![0; READ], offsets(READ));
    tried(times, || file.read_exact_at(&mut buffer, offset.next().unwrap_or(0)))
}

/// Writes over what is there already, 4 KiB at a time.
pub(super) fn write_file(scratch: &Path, times: u32) -> Done<u64> {
    let path = scratch.join("written");
    if !path.exists() {
        fs::write(&path, vec![0; 16 << 20]).doing("file")?;
    }
    let file = File::options().write(true).open(&path).doing("file")?;
    let (buffer, mut offset) = (vec![0x5a; WRITTEN], offsets(WRITTEN));
    tried(times, || file.write_all_at(&buffer, offset.next().unwrap_or(0)))
}

/// Opens each of so many files for writing; over a lower layer that copies each.
pub(super) fn open_to_write(scratch: &Path, times: u32) -> Done<u64> {
    let mut number = 0..;
    tried(times, || {
        let path = scratch.join(format!("f{}", number.next().unwrap_or(0)));
        File::options().write(true).open(path).map(drop)
    })
}

/// Copies each of so many files, as the kernel copies them best.
pub(super) fn copy_files(scratch: &Path, times: u32) -> Done<u64> {
    let mut number = 0..;
    tried(times, || {
        let number: u32 = number.next().unwrap_or(0);
        fs::copy(scratch.join(format!("f{number}")), scratch.join(format!("c{number}"))).map(drop)
    })
}

/// Looks each of so many files up, once.
pub(super) fn stat_all(scratch: &Path, times: u32) -> Done<u64> {
    let mut number = 0..;
    tried(times, || fs::metadata(scratch.join(format!("f{}", number.next().unwrap_or(0)))).map(drop))
}
