//! Changes as an OCI layer: a tar archive with whiteouts, the same bytes for the same change.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::{Change, What, visit};
use crate::error::{Doing, Result};

/// Writes the layer that `upper` holds.
///
/// # Errors
/// A file that cannot be read, by path; or the writer's own.
pub fn write(upper: &Path, to: impl Write) -> Result<()> {
    let mut archive = Builder::new(to);
    let mut links = HashMap::new();
    visit(upper, &mut |change, metadata| {
        entry(&mut archive, upper, &change, metadata, &mut links)
            .doing(|| format!("storing {} in the layer", change.path.display()))
    })?;
    archive.finish().doing(|| "finishing the layer")
}

/// Writes a whole tree, such as a merged one, with the attributes of its root.
///
/// # Errors
/// As of [`write`].
pub fn write_tree(root: &Path, to: impl Write) -> Result<()> {
    let mut archive = Builder::new(to);
    let metadata = fs::metadata(root).doing(|| format!("reading {}", root.display()))?;
    let mut top = header(&metadata);
    top.set_entry_type(EntryType::Directory);
    attributes(&mut archive, root, &metadata)
        .and_then(|()| archive.append_data(&mut top, "./", std::io::empty()))
        .doing(|| "storing the root")?;
    let mut links = HashMap::new();
    visit(root, &mut |change, metadata| {
        let change = Change { what: What::Set, ..change };
        entry(&mut archive, root, &change, metadata, &mut links)
            .doing(|| format!("storing {}", change.path.display()))
    })?;
    archive.finish().doing(|| "finishing the archive")
}

/// Copies the content of a directory, and its own attributes, into another; volumes and other mounts below it are not
/// entered. To be called where no other thread changes directories or masks.
///
/// # Errors
/// A file cannot be read or made.
pub fn copy_tree(from: &Path, into: &Path) -> Result<()> {
    let (reader, writer) = std::io::pipe().doing(|| "making a pipe")?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || write_tree(from, std::io::BufWriter::new(writer)));
        let contents = super::Contents { devices: true, whiteouts: false };
        let limits = super::Limits { bytes: u64::MAX, entries: u64::MAX };
        let extracted = super::extract(reader, into, contents, limits);
        let written = writing.join().unwrap_or_else(|_| Err(crate::error::Error::new("the copying thread panicked")));
        // A reader that gave up breaks the writer's pipe, so its error is the one that counts.
        extracted.map(drop).and(written)
    })
}

fn entry(
    archive: &mut Builder<impl Write>,
    upper: &Path,
    change: &Change,
    metadata: &Metadata,
    links: &mut HashMap<u64, PathBuf>,
) -> std::io::Result<()> {
    if change.what == What::Deleted {
        let mut name = b".wh.".to_vec();
        name.extend(change.path.file_name().unwrap_or_default().as_bytes());
        return marker(archive, &change.path.with_file_name(std::ffi::OsStr::from_bytes(&name)));
    }
    let full = upper.join(&change.path);
    attributes(archive, &full, metadata)?;
    let mut header = header(metadata);
    let kind = metadata.file_type();
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        archive.append_data(&mut header, &change.path, std::io::empty())?;
        if change.what == What::SetOpaque {
            marker(archive, &change.path.join(".wh..wh..opq"))?;
        }
        return Ok(());
    }
    if metadata.nlink() > 1 {
        if let Some(first) = links.get(&metadata.ino()) {
            header.set_entry_type(EntryType::Link);
            return archive.append_link(&mut header, &change.path, first);
        }
        links.insert(metadata.ino(), change.path.clone());
    }
    if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        return archive.append_link(&mut header, &change.path, fs::read_link(&full)?);
    }
    if kind.is_file() {
        header.set_entry_type(EntryType::Regular);
        header.set_size(metadata.size());
        // A file that shrinks meanwhile must not shift all that follows it.
        let content = File::open(&full)?.take(metadata.size()).chain(std::io::repeat(0)).take(metadata.size());
        return archive.append_data(&mut header, &change.path, content);
    }
    if kind.is_char_device() || kind.is_block_device() {
        let device = metadata.rdev();
        header.set_entry_type(if kind.is_char_device() { EntryType::Char } else { EntryType::Block });
        header.set_device_major(rustix::fs::major(device))?;
        header.set_device_minor(rustix::fs::minor(device))?;
    } else if kind.is_fifo() {
        header.set_entry_type(EntryType::Fifo);
    } else {
        // A socket means nothing without the process that listens on it.
        return Ok(());
    }
    archive.append_data(&mut header, &change.path, std::io::empty())
}

fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(0);
    header
}

/// Extended attributes, but not those by which the overlay itself keeps its books.
fn attributes(archive: &mut Builder<impl Write>, full: &Path, metadata: &Metadata) -> std::io::Result<()> {
    if metadata.file_type().is_symlink() {
        return Ok(());
    }
    let mut names: Vec<_> = match xattr::list(full) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
        names => names?.collect(),
    };
    names.sort_unstable();
    let mut found = Vec::new();
    for name in names {
        let text = name.to_string_lossy().into_owned();
        if text.starts_with("trusted.overlay.") || text.starts_with("user.overlay.") {
            continue;
        }
        if let Some(value) = xattr::get(full, &name)? {
            found.push((format!("SCHILY.xattr.{text}"), value));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    archive.append_pax_extensions(found.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
}

/// An empty file whose name is the message.
fn marker(archive: &mut Builder<impl Write>, path: &Path) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(0);
    header.set_mtime(0);
    archive.append_data(&mut header, path, std::io::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn archive(upper: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(upper, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn files_links_and_directories_are_stored_once_each() {
        let upper = tempfile::tempdir().unwrap();
        let at = |name: &str| upper.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("dir/file"), "content").unwrap();
        fs::hard_link(at("dir/file"), at("dir/link")).unwrap();
        symlink("file", at("dir/soft")).unwrap();
        let bytes = archive(upper.path());
        let mut read = tar::Archive::new(bytes.as_slice());
        let found: Vec<_> = read
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.path().unwrap().display().to_string(), entry.header().entry_type(), entry.size())
            })
            .collect();
        assert_eq!(
            found,
            [
                ("dir".to_owned(), EntryType::Directory, 0),
                ("dir/file".to_owned(), EntryType::Regular, 7),
                ("dir/link".to_owned(), EntryType::Link, 0),
                ("dir/soft".to_owned(), EntryType::Symlink, 0),
            ]
        );
    }

    #[test]
    fn the_same_change_gives_the_same_bytes() {
        let upper = tempfile::tempdir().unwrap();
        for name in ["c", "a", "b"] {
            fs::write(upper.path().join(name), name).unwrap();
        }
        assert_eq!(archive(upper.path()), archive(upper.path()));
    }

    #[test]
    fn long_and_strange_names_survive() {
        let upper = tempfile::tempdir().unwrap();
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9-\n").to_owned();
        let long = "n".repeat(200);
        fs::write(upper.path().join(&name), "").unwrap();
        fs::write(upper.path().join(&long), "").unwrap();
        let bytes = archive(upper.path());
        let mut read = tar::Archive::new(bytes.as_slice());
        let found: Vec<_> =
            read.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned()).collect();
        assert_eq!(found, [name.as_bytes().to_vec(), long.into_bytes()]);
    }
}
