//! Changes as an OCI layer: a tar archive with whiteouts, the same bytes for the same change.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::fs::FileType;
use tar::{Builder, EntryType, Header};

use super::diff::Walk;
use super::node::{Attributes, FileId, Node};
use super::{Change, Contents, Limits, What, extract_at, visit};
use runtime::error::{Doing, Error, Result};

/// Writes the layer that `upper` holds. A thread of its own looks for what changed, so that the archive is written meanwhile.
///
/// # Errors
/// A file that cannot be read, by path; or the writer's own.
pub fn write(upper: &Path, to: impl Write) -> Result<()> {
    let mut archive = Archive::new(to, Style::default());
    let (sender, found) = sync_channel::<Vec<Found>>(BATCHES);
    std::thread::scope(|scope| {
        let walking = scope.spawn(move || walk(upper, &sender));
        let written = found.iter().flatten().try_for_each(|found| {
            let Found { change, node, attributes } = found;
            archive
                .entry(&change, &node, attributes)
                .doing(|| format!("storing {} in the layer", change.path.display()))
        });
        // A walker that finds nobody ends; its own error is the one that counts only if there is no other.
        drop(found);
        let walked =
            walking.join().unwrap_or_else(|_| Err(Error::new("the thread that looks for changes panicked")));
        written.and(walked)
    })?;
    archive.to.finish().doing(|| "finishing the layer")
}

fn walk(upper: &Path, to: &SyncSender<Vec<Found>>) -> Result<()> {
    let gone = |_| Error::new("nobody writes what was found");
    let mut batch = Vec::with_capacity(BATCH);
    visit(upper, &mut |change, node| {
        let attributes = node.attributes();
        batch.push(Found { change, node, attributes });
        if batch.len() < BATCH {
            return Ok(());
        }
        to.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).map_err(gone)
    })?;
    to.send(batch).map_err(gone)
}

/// How many are handed over at once, and how many such wait. A hand-over costs more than a file's attributes, and each
/// that waits holds a descriptor, of which there may be no more than 1,024.
const BATCH: usize = 32;
const BATCHES: usize = 4;

/// A change, and what is known of it before its content is read.
struct Found {
    change: Change,
    node: Node,
    attributes: std::io::Result<Attributes>,
}

/// Writes a whole tree, such as a merged one, with the attributes of its root.
///
/// # Errors
/// Same errors as [`write()`].
pub fn write_tree(root: &Path, to: impl Write) -> Result<()> {
    write_some(&Node::open(root)?, &Style::default(), to)
}

/// Says whether a path is written, told whether it is a directory.
pub type Keep<'a> = dyn Fn(&Path, bool) -> bool + Sync + 'a;

/// What of a tree is written, and how.
#[derive(Clone, Copy, Default)]
pub struct Style<'a> {
    /// Owner and group of all, instead of their own.
    pub owner: Option<(u32, u32)>,
    /// Mode of all that are no links, instead of their own.
    pub mode: Option<u32>,
    /// Without an entry for the root: its target keeps its own attributes.
    pub rootless: bool,
    /// A name for the root, with which all names begin; absent means that they begin in the root.
    pub under: Option<&'a Path>,
    /// No times: what differs in them alone gives the same bytes.
    pub timeless: bool,
    /// Which paths are written, told whether they are directories; all if absent.
    pub keep: Option<&'a Keep<'a>>,
    /// What of that which is mounted in the tree is a part of it.
    pub mounts: Mounts<'a>,
}

/// Which mounts count as part of a tree. Of others the mount point alone is written: an empty directory or file.
#[derive(Debug, Clone, Copy, Default)]
pub enum Mounts<'a> {
    /// None.
    #[default]
    Points,
    /// Those whose roots are these files.
    These(&'a HashSet<FileId>),
    /// All.
    All,
}

impl std::fmt::Debug for Style<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Style").field("owner", &self.owner).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Style<'_> {
    fn header(&self, node: &Node) -> Header {
        let stat = node.stat();
        let mut header = Header::new_ustar();
        header.set_mode(u32::from(stat.stx_mode) & 0o7777);
        header.set_uid(stat.stx_uid.into());
        header.set_gid(stat.stx_gid.into());
        header.set_mtime(u64::try_from(stat.stx_mtime.tv_sec).unwrap_or(0));
        header.set_size(0);
        if let Some((owner, group)) = self.owner {
            header.set_uid(owner.into());
            header.set_gid(group.into());
        }
        if let Some(mode) = self.mode.filter(|_| node.kind() != FileType::Symlink) {
            header.set_mode(mode);
        }
        if self.timeless {
            header.set_mtime(0);
        }
        header
    }

    fn has(&self, node: &Node) -> bool {
        !node.is_mounted()
            || match self.mounts {
                Mounts::Points => false,
                Mounts::These(mounts) => mounts.contains(&node.id()),
                Mounts::All => true,
            }
    }
}

/// Writes a tree, or a part of it, with the attributes of its root.
///
/// # Errors
/// Same errors as [`write()`].
pub fn write_some(root: &Node, style: &Style<'_>, to: impl Write) -> Result<()> {
    let mut archive = Archive::new(to, *style);
    if !style.rootless {
        let mut top = style.header(root);
        top.set_entry_type(EntryType::Directory);
        root.attributes()
            .and_then(|found| archive.describe(root, &found))
            .and_then(|()| {
                let name = style.under.map_or_else(|| PathBuf::from("./"), |under| under.join(""));
                archive.to.append_data(&mut top, name, std::io::empty())
            })
            .doing(|| "storing the root")?;
    }
    let walk = Walk { marks: false, enters: &|node| style.has(node) };
    walk.through(root, &mut |change, node| {
        if style.keep.is_some_and(|keep| !keep(&change.path, node.is_dir())) {
            return Ok(());
        }
        let found = node.attributes();
        let change = match style.under {
            Some(under) => Change { path: under.join(&change.path), ..change },
            None => change,
        };
        archive.entry(&change, &node, found).doing(|| format!("storing {}", change.path.display()))
    })?;
    archive.to.finish().doing(|| "finishing the archive")
}

/// Writes one file, link or device under a name.
///
/// # Errors
/// It cannot be read.
pub fn write_one(node: &Node, name: &Path, style: &Style<'_>, to: impl Write) -> Result<()> {
    // The one that was asked for is meant, whatever is mounted there.
    let mut archive = Archive::new(to, Style { mounts: Mounts::All, ..*style });
    archive.store(node, name, node.attributes()).doing(|| format!("storing {}", name.display()))?;
    archive.to.finish().doing(|| "finishing the archive")
}

/// Copies the content of a directory, and its own attributes, into another; volumes and other mounts below it are not
/// entered. To be called where no other thread changes directories or masks.
///
/// # Errors
/// A file cannot be read or made.
pub fn copy_tree(from: &Node, into: impl AsFd) -> Result<()> {
    through_pipe(into, COPY, |to| write_some(from, &Style::default(), to))
}

/// What a copy of a tree brings into one that nobody else uses yet.
pub const COPY: Contents = Contents { devices: true, whiteouts: false, live: false };

/// Unpacks into a directory what the caller writes, while it is written.
///
/// # Errors
/// The writer's, or what cannot be made.
pub fn through_pipe(
    into: impl AsFd,
    contents: Contents,
    write: impl FnOnce(&mut dyn Write) -> Result<()> + Send,
) -> Result<()> {
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
        let limits = Limits { bytes: u64::MAX, entries: u64::MAX };
        let extracted = extract_at(reader, into, contents, limits);
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

/// An archive that is being written.
struct Archive<'a, W: Write> {
    to: Builder<W>,
    style: Style<'a>,
    /// Files with several names, by the first one.
    links: HashMap<FileId, PathBuf>,
}

impl<'a, W: Write> Archive<'a, W> {
    fn new(to: W, style: Style<'a>) -> Self {
        Self { to: Builder::new(to), style, links: HashMap::new() }
    }

    fn entry(
        &mut self,
        change: &Change,
        node: &Node,
        attributes: std::io::Result<Attributes>,
    ) -> std::io::Result<()> {
        if change.what == What::Deleted {
            let mut name = b".wh.".to_vec();
            name.extend(change.path.file_name().unwrap_or_default().as_bytes());
            return self.marker(&change.path.with_file_name(std::ffi::OsStr::from_bytes(&name)));
        }
        if node.is_dir() {
            let mut header = self.style.header(node);
            self.describe(node, &attributes?)?;
            header.set_entry_type(EntryType::Directory);
            self.to.append_data(&mut header, &change.path, std::io::empty())?;
            if change.what == What::SetOpaque {
                self.marker(&change.path.join(".wh..wh..opq"))?;
            }
            return Ok(());
        }
        if node.stat().stx_nlink > 1 {
            if let Some(first) = self.links.get(&node.id()) {
                let mut header = self.style.header(node);
                header.set_entry_type(EntryType::Link);
                return self.to.append_link(&mut header, &change.path, first);
            }
            self.links.insert(node.id(), change.path.clone());
        }
        self.store(node, &change.path, attributes)
    }

    /// What is no directory and no further name of something stored before.
    fn store(
        &mut self,
        node: &Node,
        name: &Path,
        attributes: std::io::Result<Attributes>,
    ) -> std::io::Result<()> {
        let mut header = self.style.header(node);
        match node.kind() {
            FileType::Symlink => {
                header.set_entry_type(EntryType::Symlink);
                self.describe(node, &Attributes::default())?;
                return self.to.append_link(&mut header, name, node.target()?);
            }
            // It means nothing without the process that listens on it.
            FileType::Socket => return Ok(()),
            _ if !self.style.has(node) => return self.mount_point(name),
            _ => {}
        }
        self.describe(node, &attributes?)?;
        let device = |header: &mut Header| {
            header.set_device_major(node.stat().stx_rdev_major)?;
            header.set_device_minor(node.stat().stx_rdev_minor)
        };
        match node.kind() {
            FileType::RegularFile => {
                let mut file = node.content()?;
                header.set_entry_type(EntryType::Regular);
                header.set_size(node.stat().stx_size);
                // The header alone; the content follows in pieces that are worth a call each.
                self.to.append_data(&mut header, name, std::io::empty())?;
                return content(&mut file, node.stat().stx_size, self.to.get_mut());
            }
            FileType::CharacterDevice => {
                header.set_entry_type(EntryType::Char);
                device(&mut header)?;
            }
            FileType::BlockDevice => {
                header.set_entry_type(EntryType::Block);
                device(&mut header)?;
            }
            FileType::Fifo => header.set_entry_type(EntryType::Fifo),
            other => return Err(std::io::Error::other(format!("no archive can hold a {other:?}"))),
        }
        self.to.append_data(&mut header, name, std::io::empty())
    }

    /// What the header of an entry has no field for: attributes, and parts of a second. Source: pax(1), Extended Header.
    fn describe(&mut self, node: &Node, attributes: &Attributes) -> std::io::Result<()> {
        let time = node.stat().stx_mtime;
        let time = (time.tv_nsec != 0 && time.tv_sec >= 0 && !self.style.timeless)
            .then(|| format!("{}.{:09}", time.tv_sec, time.tv_nsec));
        if attributes.is_empty() && time.is_none() {
            return Ok(());
        }
        let named: Vec<(String, &[u8])> = attributes
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{}", name.to_string_lossy()), value.as_slice()))
            .chain(time.iter().map(|time| ("mtime".to_owned(), time.as_bytes())))
            .collect();
        self.to.append_pax_extensions(named.iter().map(|(name, value)| (name.as_str(), *value)))
    }

    /// An empty file whose name is the message.
    fn marker(&mut self, path: &Path) -> std::io::Result<()> {
        let mut header = blank(0o600);
        self.to.append_data(&mut header, path, std::io::empty())
    }

    /// An empty file, as it stands below what is mounted there.
    fn mount_point(&mut self, path: &Path) -> std::io::Result<()> {
        let mut header = blank(0o644);
        self.to.append_data(&mut header, path, std::io::empty())
    }
}

fn blank(mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_size(0);
    header.set_mtime(0);
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

#[cfg(test)]
mod tests;
