//! Changes as an OCI layer: a tar archive with whiteouts, the same bytes for the same change.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use tar::{Builder, EntryType, Header};

use super::{Change, What, visit};
use runtime::error::{Doing, Error, Result};

/// Writes the layer that `upper` holds. A thread of its own looks for what changed, so that the archive is written meanwhile.
///
/// # Errors
/// A file that cannot be read, by path; or the writer's own.
pub fn write(upper: &Path, to: impl Write) -> Result<()> {
    let mut archive = Builder::new(to);
    let (plain, mut links) = (Style::default(), HashMap::new());
    let (sender, found) = sync_channel::<Vec<Found>>(BATCHES);
    std::thread::scope(|scope| {
        let walking = scope.spawn(move || walk(upper, &sender));
        let written = found.iter().flatten().try_for_each(|found| {
            let Found { change, metadata, attributes } = found;
            entry(&mut archive, upper, &change, &metadata, attributes, &plain, &mut links)
                .doing(|| format!("storing {} in the layer", change.path.display()))
        });
        // A walker that finds nobody ends; its own error is the one that counts only if there is no other.
        drop(found);
        let walked =
            walking.join().unwrap_or_else(|_| Err(Error::new("the thread that looks for changes panicked")));
        written.and(walked)
    })?;
    archive.finish().doing(|| "finishing the layer")
}

fn walk(upper: &Path, to: &SyncSender<Vec<Found>>) -> Result<()> {
    let gone = |_| Error::new("nobody writes what was found");
    let mut batch = Vec::with_capacity(BATCH);
    visit(upper, &mut |change, metadata| {
        let attributes = attributes(&upper.join(&change.path), metadata, false);
        batch.push(Found { change, metadata: metadata.clone(), attributes });
        if batch.len() < BATCH {
            return Ok(());
        }
        to.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).map_err(gone)
    })?;
    to.send(batch).map_err(gone)
}

/// How many are handed over at once, and how many such wait: a hand-over costs more than a file's attributes.
const BATCH: usize = 64;
const BATCHES: usize = 16;

/// A change, and what is known of it before its content is read.
struct Found {
    change: Change,
    metadata: Metadata,
    attributes: std::io::Result<Attributes>,
}

/// Extended attributes, by the names that an archive gives them.
type Attributes = Vec<(String, Vec<u8>)>;

/// Writes a whole tree, such as a merged one, with the attributes of its root.
///
/// # Errors
/// As of [`write`].
pub fn write_tree(root: &Path, to: impl Write) -> Result<()> {
    write_some(root, &Style::default(), to)
}

/// Says whether a path is written, told whether it is a directory.
pub type Keep<'a> = dyn Fn(&Path, bool) -> bool + Sync + 'a;

/// What of a tree is written, and how.
#[derive(Default)]
pub struct Style<'a> {
    /// Owner and group of all, instead of their own.
    pub owner: Option<(u32, u32)>,
    /// Mode of all that are no links, instead of their own.
    pub mode: Option<u32>,
    /// Without an entry for the root: its target keeps its own attributes.
    pub rootless: bool,
    /// The path of a single file is a descriptor's, and means what that refers to.
    pub through: bool,
    /// No times: what differs in them alone gives the same bytes.
    pub timeless: bool,
    /// Which paths are written, told whether they are directories; all if absent.
    pub keep: Option<&'a Keep<'a>>,
}

impl std::fmt::Debug for Style<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Style").field("owner", &self.owner).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Style<'_> {
    fn header(&self, metadata: &Metadata) -> Header {
        let mut header = header(metadata);
        if let Some((owner, group)) = self.owner {
            header.set_uid(owner.into());
            header.set_gid(group.into());
        }
        if let Some(mode) = self.mode.filter(|_| !metadata.is_symlink()) {
            header.set_mode(mode);
        }
        if self.timeless {
            header.set_mtime(0);
        }
        header
    }
}

/// Writes a tree, or a part of it, with the attributes of its root.
///
/// # Errors
/// As of [`write`].
pub fn write_some(root: &Path, style: &Style<'_>, to: impl Write) -> Result<()> {
    let mut archive = Builder::new(to);
    if !style.rootless {
        let metadata = fs::metadata(root).doing(|| format!("reading {}", root.display()))?;
        let mut top = style.header(&metadata);
        top.set_entry_type(EntryType::Directory);
        attributes(root, &metadata, true)
            .and_then(|found| describe(&mut archive, &found))
            .and_then(|()| archive.append_data(&mut top, "./", std::io::empty()))
            .doing(|| "storing the root")?;
    }
    let mut links = HashMap::new();
    visit(root, &mut |change, metadata| {
        let change = Change { what: What::Set, ..change };
        if style.keep.is_some_and(|keep| !keep(&change.path, metadata.is_dir())) {
            return Ok(());
        }
        let found = attributes(&root.join(&change.path), metadata, style.through);
        entry(&mut archive, root, &change, metadata, found, style, &mut links)
            .doing(|| format!("storing {}", change.path.display()))
    })?;
    archive.finish().doing(|| "finishing the archive")
}

/// Writes one file, link or device under a name.
///
/// # Errors
/// It cannot be read.
pub fn write_one(path: &Path, name: &Path, style: &Style<'_>, to: impl Write) -> Result<()> {
    let mut archive = Builder::new(to);
    let doing = || format!("storing {}", name.display());
    let metadata =
        if style.through { fs::metadata(path) } else { fs::symlink_metadata(path) }.doing(doing)?;
    let attributes = attributes(path, &metadata, style.through);
    store(&mut archive, path, name, &metadata, attributes, style).doing(doing)?;
    archive.finish().doing(|| "finishing the archive")
}

/// Copies the content of a directory, and its own attributes, into another; volumes and other mounts below it are not
/// entered. To be called where no other thread changes directories or masks.
///
/// # Errors
/// A file cannot be read or made.
pub fn copy_tree(from: &Path, into: &Path) -> Result<()> {
    through_pipe(into, |to| write_tree(from, to))
}

/// Unpacks into a directory what the caller writes, while it is written.
///
/// # Errors
/// The writer's, or what cannot be made.
pub fn through_pipe(into: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()> + Send) -> Result<()> {
    let (reader, writer) = std::io::pipe().doing(|| "making a pipe")?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            // A reader that gave up must end this thread by an error, not the process by a signal.
            let mut broken_pipe = nix::sys::signal::SigSet::empty();
            broken_pipe.add(nix::sys::signal::Signal::SIGPIPE);
            broken_pipe.thread_block().doing(|| "blocking a signal")?;
            let mut to = std::io::BufWriter::with_capacity(64 * 1024, writer);
            write(&mut to)?;
            to.flush().doing(|| "writing to the pipe")
        });
        let contents = super::Contents { devices: true, whiteouts: false };
        let limits = super::Limits { bytes: u64::MAX, entries: u64::MAX };
        let extracted = super::extract(reader, into, contents, limits);
        let written = writing.join().unwrap_or_else(|_| Err(Error::new("the copying thread panicked")));
        match (extracted, written) {
            (Ok(_), written) => written,
            // The reader ends where the writer failed, and the writer where the reader did: the cause comes first.
            (Err(read), Err(written)) if written.errno() != Some(libc::EPIPE) => {
                Err(Error::new(format!("{written} ({read})")))
            }
            (Err(read), _) => Err(read),
        }
    })
}

fn entry(
    archive: &mut Builder<impl Write>,
    upper: &Path,
    change: &Change,
    metadata: &Metadata,
    attributes: std::io::Result<Attributes>,
    style: &Style<'_>,
    links: &mut HashMap<u64, PathBuf>,
) -> std::io::Result<()> {
    if change.what == What::Deleted {
        let mut name = b".wh.".to_vec();
        name.extend(change.path.file_name().unwrap_or_default().as_bytes());
        return marker(archive, &change.path.with_file_name(std::ffi::OsStr::from_bytes(&name)));
    }
    let full = upper.join(&change.path);
    let mut header = style.header(metadata);
    if metadata.is_dir() {
        describe(archive, &attributes?)?;
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
    store(archive, &full, &change.path, metadata, attributes, style)
}

/// What is no directory and no further name of something stored before.
fn store(
    archive: &mut Builder<impl Write>,
    full: &Path,
    name: &Path,
    metadata: &Metadata,
    attributes: std::io::Result<Attributes>,
    style: &Style<'_>,
) -> std::io::Result<()> {
    let mut header = style.header(metadata);
    let kind = metadata.file_type();
    if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        return archive.append_link(&mut header, name, fs::read_link(full)?);
    }
    if kind.is_socket() {
        // It means nothing without the process that listens on it.
        return Ok(());
    }
    describe(archive, &attributes?)?;
    if kind.is_file() {
        header.set_entry_type(EntryType::Regular);
        header.set_size(metadata.size());
        let mut file = File::open(full)?;
        // The header alone; the content follows in pieces that are worth a call each.
        archive.append_data(&mut header, name, std::io::empty())?;
        return content(&mut file, metadata.size(), archive.get_mut());
    }
    if kind.is_char_device() || kind.is_block_device() {
        let device = metadata.rdev();
        header.set_entry_type(if kind.is_char_device() { EntryType::Char } else { EntryType::Block });
        header.set_device_major(rustix::fs::major(device))?;
        header.set_device_minor(rustix::fs::minor(device))?;
    } else {
        header.set_entry_type(EntryType::Fifo);
    }
    archive.append_data(&mut header, name, std::io::empty())
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

/// Writes as many bytes as the header promised, and fills up the last record.
fn content(file: &mut File, size: u64, to: &mut impl Write) -> std::io::Result<()> {
    const RECORD: u64 = 512;
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(PIECE).clamp(1, PIECE)];
    let mut left = size;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let length = file.read(&mut buffer[..wanted])?;
        if length == 0 {
            break;
        }
        to.write_all(&buffer[..length])?;
        left -= length as u64;
    }
    // A file that shrinks meanwhile must not shift all that follows it.
    let padding = left + size.next_multiple_of(RECORD) - size;
    std::io::copy(&mut std::io::repeat(0).take(padding), to).map(drop)
}

/// How much is read of a file at once.
const PIECE: usize = 128 * 1024;

/// Extended attributes, but not those by which the overlay itself keeps its books.
fn attributes(full: &Path, metadata: &Metadata, through: bool) -> std::io::Result<Attributes> {
    let mut found = Vec::new();
    if metadata.file_type().is_symlink() {
        return Ok(found);
    }
    let listed = if through { xattr::list_deref(full) } else { xattr::list(full) };
    let mut names: Vec<_> = match listed {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(found),
        names => names?.collect(),
    };
    names.sort_unstable();
    for name in names {
        let text = name.to_string_lossy().into_owned();
        if text.starts_with("trusted.overlay.") || text.starts_with("user.overlay.") {
            continue;
        }
        let value = if through { xattr::get_deref(full, &name) } else { xattr::get(full, &name) };
        if let Some(value) = value? {
            found.push((format!("SCHILY.xattr.{text}"), value));
        }
    }
    Ok(found)
}

fn describe(archive: &mut Builder<impl Write>, attributes: &Attributes) -> std::io::Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    archive.append_pax_extensions(attributes.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
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
