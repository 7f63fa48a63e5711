//! Writing a bundle: the root file system with what a case puts there, volumes beside it, and the configuration.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use kit::run::Run;
use kit::trouble::Trouble;
use serde_json::Value;

use crate::case::Entry;
use crate::document::BUNDLE;

/// The longest text of a file that is told, in bytes.
const LONGEST: u64 = 2000;

/// Writes a bundle into a fresh directory.
pub(crate) fn write(run: &Run, bundle: &Path, entries: &[Entry], config: &Value) -> Result<(), Trouble> {
    let rootfs = bundle.join("rootfs");
    run.make_rootfs(&rootfs)?;
    volumes(&bundle.join("volumes"))?;
    for entry in entries {
        put(bundle, &rootfs, entry)?;
    }
    if let Some(owner) = mapped_root(config) {
        // Mount points are made by the root of the container's user namespace.
        give(&rootfs, owner)?;
    }
    Ok(fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(config)?)?)
}

/// What binds have as sources.
fn volumes(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir.join("directory/inner"))?;
    fs::write(dir.join("directory/text"), "text\n")?;
    fs::write(dir.join("file"), "text\n")?;
    symlink("directory", dir.join("link-to-directory"))?;
    symlink("file", dir.join("link-to-file"))
}

/// Puts something in the place of what stands there.
fn put(bundle: &Path, rootfs: &Path, entry: &Entry) -> Result<(), Trouble> {
    let path = rootfs.join(entry.path());
    // An entry below a link that an earlier entry made would be written outside.
    let parent = path.parent().unwrap_or(rootfs);
    let mut above = rootfs.to_owned();
    for part in parent.strip_prefix(rootfs).unwrap_or(Path::new("")).components() {
        above.push(part);
        match fs::symlink_metadata(&above) {
            Ok(of) if of.is_dir() => {}
            Ok(_) => return Ok(()),
            Err(_) => fs::create_dir(&above)?,
        }
    }
    match fs::symlink_metadata(&path) {
        Ok(of) if of.is_dir() => kit::remove::tree(&path)?,
        Ok(_) => fs::remove_file(&path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    match entry {
        Entry::Link { target, .. } => {
            symlink(target.replace(BUNDLE, &bundle.display().to_string()), &path)?;
        }
        Entry::File { text, .. } => fs::write(&path, text)?,
        Entry::Directory { mode, .. } => {
            fs::create_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
        }
        Entry::Fifo { .. } => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644))?,
    }
    Ok(())
}

/// Who is root in the container's user namespace.
fn mapped_root(config: &Value) -> Option<u32> {
    let maps = config["linux"]["uidMappings"].as_array()?;
    let root = maps.iter().find(|map| map["containerID"] == 0)?;
    u32::try_from(root["hostID"].as_u64()?).ok()
}

fn give(path: &Path, owner: u32) -> std::io::Result<()> {
    let of = fs::symlink_metadata(path)?;
    // The probe is one file for all containers of the run.
    if of.is_file() && of.nlink() > 1 {
        return Ok(());
    }
    lchown(path, Some(owner), Some(owner))?;
    if of.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

/// A null device of the case's own, as the standard input of commands: a runtime that gives it to the container's user would give away the
/// host's.
pub(crate) fn null(path: &Path) -> Result<File, Trouble> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))?;
    Ok(File::open(path)?)
}

/// Owner, group and permissions of a file.
pub(crate) fn owner(file: &File) -> std::io::Result<String> {
    let of = file.metadata()?;
    Ok(format!("{}:{} {:04o}", of.uid(), of.gid(), of.mode() & 0o7777))
}

/// What stands in a directory, by the paths below it: kind and permissions. Nothing is followed.
pub(crate) fn tree(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    list(dir, dir, &mut found);
    found
}

fn list(top: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(of) = fs::symlink_metadata(&path) else { continue };
        let kind = match of.file_type() {
            kind if kind.is_dir() => "directory",
            kind if kind.is_symlink() => "link",
            kind if kind.is_file() => "file",
            _ => "other",
        };
        let mut told = format!("{kind} {:04o} {}:{}", of.mode() & 0o7777, of.uid(), of.gid());
        // What hooks and programs have written is told, if it is not much.
        if of.is_file()
            && of.len() <= LONGEST
            && let Ok(text) = fs::read_to_string(&path)
        {
            told = format!("{told} {}", text.trim());
        }
        found.insert(path.strip_prefix(top).unwrap_or(&path).to_owned(), told);
        if of.is_dir() {
            list(top, &path, found);
        }
    }
}

/// What a directory has beside what it had.
pub(crate) fn added(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> Value {
    let mut told = serde_json::Map::new();
    for (path, kind) in after {
        if before.get(path) != Some(kind) {
            told.insert(path.display().to_string(), kind.clone().into());
        }
    }
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        told.insert(path.display().to_string(), "gone".into());
    }
    Value::Object(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_never_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        let outside = dir.path().join("outside");
        fs::create_dir_all(&rootfs).unwrap();
        fs::create_dir_all(&outside).unwrap();
        let put = |entry: &Entry| put(dir.path(), &rootfs, entry).unwrap();
        put(&Entry::Link { path: "dev".into(), target: "@BUNDLE@/outside".into() });
        put(&Entry::File { path: "dev/null".into(), text: "x".into() });
        assert_eq!(fs::read_link(rootfs.join("dev")).unwrap(), outside);
        assert!(fs::read_dir(&outside).unwrap().next().is_none());
        put(&Entry::Directory { path: "dev".into(), mode: 0o700 });
        put(&Entry::File { path: "dev/null".into(), text: "x".into() });
        assert_eq!(fs::read_to_string(rootfs.join("dev/null")).unwrap(), "x");
        let before = tree(&rootfs);
        fs::write(rootfs.join("new"), "").unwrap();
        fs::remove_file(rootfs.join("dev/null")).unwrap();
        let told = added(&before, &tree(&rootfs));
        assert!(told["new"].as_str().unwrap().starts_with("file ") && told["dev/null"] == "gone", "{told}");
    }
}
