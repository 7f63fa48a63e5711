//! Verbs that write, mount and count in files.

use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use runtime::overlay::Stack;
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
