//! Verbs that write, mount and count in files.

use std::os::unix::fs::FileExt;
use std::path::Path;

use engine::overlay::Stack;
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use super::{Answer, told};

pub(super) fn write(path: &str, text: &str) -> Answer {
    told(path, std::fs::write(path, text)).map(|()| Value::Null)
}

pub(super) fn remove(path: &str) -> Answer {
    told(path, std::fs::remove_file(path)).map(|()| Value::Null)
}

pub(super) fn mkdir(path: &str) -> Answer {
    told(path, std::fs::create_dir_all(path)).map(|()| Value::Null)
}

/// Copies a file, and gives it this mode, in octal.
pub(super) fn copy(from: &str, to: &str, mode: &str) -> Answer {
    use std::os::unix::fs::PermissionsExt;
    let mode = told("mode", u32::from_str_radix(mode, 8))?;
    told(to, std::fs::copy(from, to))?;
    told(to, std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode))).map(|()| Value::Null)
}

pub(super) fn mount_tmpfs(path: &str) -> Answer {
    told(path, std::fs::create_dir_all(path))?;
    let mounted = mount(Some("plimsoll"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>);
    told(&format!("mounting a tmpfs at {path}"), mounted).map(|()| Value::Null)
}

pub(super) fn mount_overlay(lower: &str, upper: &str, work: &str, merged: &str) -> Answer {
    let stack =
        Stack { lower: vec![lower.into()], upper: Some((upper.into(), work.into())), options: Vec::new() };
    told("overlay", stack.mount(Path::new(merged))).map(|()| Value::Null)
}

/// Several lower layers, topmost first, with colons between them.
pub(super) fn mount_stack(lowers: &str, upper: &str, work: &str, merged: &str) -> Answer {
    let stack = Stack {
        lower: lowers.split(':').map(Into::into).collect(),
        upper: Some((upper.into(), work.into())),
        options: Vec::new(),
    };
    told("overlay", stack.mount(Path::new(merged))).map(|()| Value::Null)
}

/// Unmounts what is there.
pub(super) fn unmount(path: &str) -> Answer {
    told(path, nix::mount::umount(path)).map(|()| Value::Null)
}

/// Counts up in the first eight bytes of a file for ever, so that others can see whether this process makes
/// progress.
pub(super) fn tick(path: &str) -> Answer {
    let file = told(path, std::fs::File::create(path))?;
    std::thread::spawn(move || {
        for count in 1_u64.. {
            if file.write_all_at(&count.to_le_bytes(), 0).is_err() {
                return;
            }
        }
    });
    Ok(json!(path))
}

/// Reads so much of a file or device, and returns how long it took, in microseconds. `direct` passes the page cache by.
pub(super) fn read_stream(path: &str, bytes: &str, how: &str) -> Answer {
    let bytes: usize = told("bytes", bytes.parse())?;
    let file = told(path, open(path, how, false))?;
    let mut buffer = Aligned::new();
    let start = std::time::Instant::now();
    let mut done = 0;
    while done < bytes {
        let length = told(path, file.read_at(buffer.bytes(), done as u64))?;
        if length == 0 {
            return Err(format!("{path} ends after {done} bytes"));
        }
        done += length;
    }
    Ok(json!(start.elapsed().as_micros() as u64))
}

/// Where writing "behind" begins: no tool that looks for file systems reads there, so every page in the cache is the writer's.
const BEHIND: u64 = 4 << 20;

/// Writes so much to a file or device, in pieces of `piece` bytes, and returns how long it took, in microseconds.
pub(super) fn write_stream(path: &str, bytes: &str, piece: &str, how: &str) -> Answer {
    let (bytes, piece): (usize, usize) = (told("bytes", bytes.parse())?, told("bytes", piece.parse())?);
    let file = told(path, open(path, how, true))?;
    let mut buffer = Aligned::new();
    let start = std::time::Instant::now();
    let first = if how == "behind" { BEHIND } else { 0 };
    for offset in (0..bytes).step_by(piece) {
        told(path, file.write_all_at(&buffer.bytes()[..piece.min(Aligned::LENGTH)], first + offset as u64))?;
    }
    Ok(json!(start.elapsed().as_micros() as u64))
}

fn open(path: &str, how: &str, write: bool) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = if how == "direct" { libc::O_DIRECT } else { 0 };
    std::fs::File::options()
        .read(true)
        .write(write)
        .create(write && how == "create")
        .custom_flags(flags)
        .open(path)
}

/// A buffer at a page's start, as direct input and output ask for.
struct Aligned(Vec<u8>);

impl Aligned {
    const LENGTH: usize = 64 * 1024;

    fn new() -> Self {
        Self(vec![0x5a; Self::LENGTH + 4096])
    }

    fn bytes(&mut self) -> &mut [u8] {
        let start = self.0.as_ptr().align_offset(4096);
        &mut self.0[start..start + Self::LENGTH]
    }
}

/// Keeps a file open for ever.
pub(super) fn keep_open(path: &str) -> Answer {
    std::mem::forget(told(path, std::fs::File::open(path))?);
    Ok(Value::Null)
}

/// Appends a line to a file and tells whose it is.
pub(super) fn append(path: &str, text: &str) -> Answer {
    use std::io::Write;
    let file = std::fs::File::options().append(true).create(true).open(path);
    told(path, file.and_then(|mut file| writeln!(file, "{text}"))).map(|()| Value::Null)
}

/// Binds a directory to another.
pub(super) fn bind(from: &str, to: &str) -> Answer {
    let bound = mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    told(&format!("binding {from} to {to}"), bound).map(|()| Value::Null)
}

/// Rewrites a file as a whole for ever, each time with another byte all over; says on standard output when it is there.
pub(super) fn rewrite(path: &str, size: &str) -> Answer {
    let size: usize = told("size", size.parse())?;
    let file = told(path, std::fs::File::create(path))?;
    let mut content = vec![0; size];
    for byte in (0..=u8::MAX).cycle() {
        content.fill(byte);
        told(path, file.write_all_at(&content, 0))?;
        if byte == 1 {
            output::outln!("writing");
        }
    }
    Ok(Value::Null)
}
