//! A whole tree in one answer, for comparing two of them.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Answer, told};

/// Describes everything below a directory but other mounts: kind, mode, owners, time, content, links and attributes, by path.
/// Names and targets that are no text are shown escaped.
pub(super) fn describe(root: &str) -> Answer {
    let mut found = BTreeMap::new();
    let mut links = BTreeMap::new();
    let device = told(root, std::fs::symlink_metadata(root))?.dev();
    walk(Path::new(root), Path::new(""), device, &mut links, &mut found)?;
    Ok(json!(found))
}

fn walk(
    root: &Path,
    below: &Path,
    device: u64,
    links: &mut BTreeMap<u64, PathBuf>,
    found: &mut BTreeMap<String, Value>,
) -> Result<(), String> {
    let dir = root.join(below);
    let shown = dir.display().to_string();
    let mut names: Vec<_> =
        told(&shown, std::fs::read_dir(&dir))?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let path = below.join(name);
        let full = root.join(&path);
        let of = told(&shown, std::fs::symlink_metadata(&full))?;
        found
            .insert(path.as_os_str().as_bytes().escape_ascii().to_string(), entry(&full, &path, &of, links)?);
        if of.is_dir() && of.dev() == device {
            walk(root, &path, device, links, found)?;
        }
    }
    Ok(())
}

fn entry(
    full: &Path,
    path: &Path,
    of: &Metadata,
    links: &mut BTreeMap<u64, PathBuf>,
) -> Result<Value, String> {
    let shown = full.display().to_string();
    let content = if of.is_file() {
        let mut hashing = engine::image::Hashing::new(std::io::sink());
        let mut file = told(&shown, std::fs::File::open(full))?;
        told(&shown, std::io::copy(&mut file, &mut hashing))?;
        Some(hashing.finish().1.hex().to_owned())
    } else {
        None
    };
    let same_as = if !of.is_dir() && of.nlink() > 1 {
        let first = links.entry(of.ino()).or_insert_with(|| path.to_owned());
        Some(first.as_os_str().as_bytes().escape_ascii().to_string())
    } else {
        None
    };
    let mut attributes = BTreeMap::new();
    for name in xattr::list(full).into_iter().flatten() {
        // Where the file system keeps them, the overlay's own are seen by nobody else.
        if let Ok(Some(value)) = xattr::get(full, &name) {
            attributes.insert(name.to_string_lossy().into_owned(), value.escape_ascii().to_string());
        }
    }
    let is_device = of.rdev() != 0;
    Ok(json!({
        "type": of.mode() & libc::S_IFMT,
        "mode": of.mode() & 0o7777,
        "owner": [of.uid(), of.gid()],
        "seconds": of.mtime(),
        "size": if of.is_dir() { 0 } else { of.size() },
        "target": std::fs::read_link(full).ok().map(|to| to.as_os_str().as_bytes().escape_ascii().to_string()),
        "device": is_device.then(|| of.rdev()),
        "content": content,
        "same_as": same_as,
        "attributes": attributes,
    }))
}

/// Makes a tree of everything that a layer has to keep.
pub(super) fn make_specimens(root: &str) -> Answer {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    let root = Path::new(root);
    let at = |name: &str| root.join(name);
    let mode = |name: &str, mode| std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode));
    told(
        "making specimens",
        (|| -> std::io::Result<()> {
            std::fs::create_dir_all(at("dir/sub"))?;
            mode("dir", 0o1770)?;
            std::fs::write(at("set-id"), "program")?;
            chown(at("set-id"), Some(1234), Some(5678))?;
            mode("set-id", 0o6751)?;
            std::fs::write(at("linked"), "once")?;
            std::fs::hard_link(at("linked"), at("dir/again"))?;
            symlink("../nowhere at all", at("dir/soft"))?;
            std::fs::write(at(&"long".repeat(60)), "")?;
            std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"caf\xe9\n")), "name")?;
            let sparse = std::fs::File::create(at("sparse"))?;
            std::os::unix::fs::FileExt::write_at(&sparse, b"end", 8 << 20)?;
            std::fs::write(at("capable"), "program")?;
            // VFS_CAP_REVISION_2 with CAP_NET_RAW, capabilities(7).
            let mut capability = 0x0200_0001_u32.to_le_bytes().to_vec();
            capability.extend((1_u32 << 13).to_le_bytes());
            capability.extend([0; 12]);
            xattr::set(at("capable"), "security.capability", &capability)?;
            nix::unistd::mkfifo(&at("pipe"), Mode::S_IRUSR)?;
            mknod(&at("null"), SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(1, 3))?;
            let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
            std::fs::File::open(at("linked"))?.set_modified(past)?;
            std::fs::File::open(at("dir/sub"))?.set_modified(past)
        })(),
    )
    .map(|()| Value::Null)
}
