//! An archive becomes a tree. Whatever the archive says, nothing outside of the tree is read or written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, fsetxattr, linkat, makedev, mkdirat,
    mknodat, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::guard::Guard;
use super::metadata::Metadata;
use super::pax::{Latest, Records};
use super::place::{Tree, clean, refused};
use runtime::error::{Doing, Error, Remedy, Result};
use runtime::overlay::OPAQUE;
use runtime::rootfs::resolve::by_descriptor;

/// How much an archive may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes when unpacked, headers included.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
}

impl Limits {
    /// What the file system of a directory can take with a tenth of its free space left over.
    ///
    /// # Errors
    /// The directory cannot be looked at.
    pub fn of_space_at(dir: &Path) -> Result<Self> {
        let space = rustix::fs::statvfs(dir).doing(|| format!("looking for space at {}", dir.display()))?;
        let entries = if space.f_favail == 0 { u64::MAX } else { space.f_favail };
        Ok(Self { bytes: space.f_bavail.saturating_mul(space.f_frsize) / 10 * 9, entries: entries / 10 * 9 })
    }
}

/// What an archive may hold beside files, directories and links, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Device nodes are made; otherwise they are refused.
    pub devices: bool,
    /// Names that begin with `.wh.` are deletions for an overlay; otherwise they are names like others.
    pub whiteouts: bool,
    /// The tree is in use: a container's, or a directory of the host. What is mounted in it is entered, unless the kernel
    /// itself speaks there; and a directory never replaces something else, nor something else a directory.
    pub live: bool,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// Unpacks an archive into a directory.
///
/// # Errors
/// Names the entry that cannot be unpacked or is refused: one that leads outside, a device where none is allowed, more
/// than the limits. What was unpacked before it stays, for the caller to remove with the directory.
pub fn extract(archive: impl Read, into: &Path, contents: Contents, limits: Limits) -> Result<Extracted> {
    let root = rustix::fs::open(into, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| format!("opening {}", into.display()))?;
    extract_at(archive, root, contents, limits)
}

/// As [`extract`], into a directory that is open.
///
/// # Errors
/// Likewise.
pub fn extract_at(
    archive: impl Read,
    into: impl AsFd,
    contents: Contents,
    limits: Limits,
) -> Result<Extracted> {
    let guard = Guard::new(archive, limits.bytes);
    let mut unpack = Unpack {
        tree: Tree::new(
            into.as_fd().try_clone_to_owned().doing(|| "duplicating a descriptor")?,
            contents.live,
        ),
        contents,
        limits,
        done: Extracted::default(),
        dirs: Vec::new(),
        latest: guard.latest(),
        records: Records::new(),
    };
    let mut archive = Archive::new(guard);
    let doing = || "reading the archive";
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let mut all = || {
        for entry in archive.entries().doing(doing)? {
            unpack.entry(&mut entry.doing(doing)?)?;
        }
        unpack.set_times_of_dirs()
    };
    let outcome = all();
    nix::sys::stat::umask(mask);
    outcome?;
    // What follows the end mark is part of the archive's digest, so it must be read.
    io::copy(&mut archive.into_inner(), &mut io::sink()).doing(doing)?;
    Ok(unpack.done)
}

struct Unpack {
    tree: Tree,
    contents: Contents,
    limits: Limits,
    done: Extracted,
    /// Filling a directory changes its time, so theirs are set at the end.
    dirs: Vec<(PathBuf, Timespec)>,
    latest: Latest,
    /// Of this entry.
    records: Records,
}

impl Unpack {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<()> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        self.records = self.latest.take();
        let path = clean(&entry.path_bytes())?;
        self.done.entries += 1;
        if self.done.entries > self.limits.entries {
            return Err(refused(&path, &format!("it is entry number {}", self.done.entries)));
        }
        self.done.bytes = self.done.bytes.saturating_add(entry.size());
        if self.done.bytes > self.limits.bytes {
            return Err(refused(&path, &format!("with it {} bytes would be unpacked", self.done.bytes)));
        }
        if path.as_os_str().is_empty() {
            return if kind.is_dir() {
                self.root(entry)
            } else {
                Err(refused(&path, "the root must be a directory"))
            };
        }
        if self.contents.whiteouts && self.whiteout(&path)? {
            return Ok(());
        }
        self.make(entry, kind, &path)
    }

    /// Makes what a name that begins with `.wh.` stands for; false for other names.
    fn whiteout(&mut self, path: &Path) -> Result<bool> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let Some(hidden) = name.strip_prefix(b".wh.") else { return Ok(false) };
        let doing = || format!("marking {} as deleted", path.display());
        if hidden == b".wh..opq" {
            let parent = self.tree.parent_of(path)?.0;
            let opened =
                openat(parent, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            let opened = opened.doing(doing)?;
            fsetxattr(&opened, OPAQUE, b"y", XattrFlags::empty())
                .doing(|| format!("marking the directory of {} as opaque", path.display()))
                .or_advise(|| "trusted attributes need CAP_SYS_ADMIN in the first user namespace")?;
            return Ok(true);
        }
        if hidden.starts_with(b".wh.") {
            // Book-keeping of an older union file system, which the image specification reserves.
            return Ok(true);
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(path, "it would delete a directory's own entries"));
        }
        let hidden = path.with_file_name(std::ffi::OsStr::from_bytes(hidden));
        let (parent, name) = self.tree.parent_of(&hidden)?;
        match mknodat(parent, &name, FileType::CharacterDevice, Mode::empty(), 0) {
            // The layer itself brings something of that name, which hides the lower one anyway.
            Err(Errno::EXIST) => Ok(true),
            made => made.map(|()| true).doing(doing),
        }
    }

    fn make<R: Read>(&mut self, entry: &mut Entry<'_, R>, kind: EntryType, path: &Path) -> Result<()> {
        let metadata = Metadata::of(entry, &self.records, path)?;
        let doing = || format!("unpacking {}", path.display());
        if kind.is_hard_link() {
            return self.hard_link(entry, path);
        }
        if kind.is_dir() {
            return self.directory(path, &metadata);
        }
        let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
        let devices = self.contents.devices;
        let (parent, name) = self.clear(path)?;
        if kind.is_symlink() {
            let target = link.ok_or_else(|| refused(path, "it is a symbolic link to nowhere"))?;
            symlinkat(target.as_slice(), parent, &name).doing(doing)?;
            return metadata.apply_unopened(parent, &name, FileType::Symlink).doing(doing);
        }
        if kind.is_character_special() || kind.is_block_special() || kind.is_fifo() {
            let number = |field: io::Result<Option<u32>>| field.ok().flatten().unwrap_or(0);
            let device =
                makedev(number(entry.header().device_major()), number(entry.header().device_minor()));
            let kind = match kind {
                EntryType::Fifo => FileType::Fifo,
                _ if !devices => {
                    return Err(refused(path, "it is a device, and none was asked for"));
                }
                EntryType::Char if device == 0 => {
                    return Err(refused(path, "it is an overlay's own mark of a deletion"));
                }
                EntryType::Char => FileType::CharacterDevice,
                _ => FileType::BlockDevice,
            };
            let device = if kind == FileType::Fifo { 0 } else { device };
            mknodat(parent, &name, kind, Mode::from_raw_mode(metadata.mode), device)
                .doing(doing)
                .or_advise(|| "device nodes need CAP_MKNOD in the first user namespace")?;
            return metadata.apply_unopened(parent, &name, kind).doing(doing);
        }
        if !(kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()) {
            return Err(refused(path, &format!("its type '{}' is unknown", char::from(kind.as_byte()))));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(parent, &name, flags, Mode::from_raw_mode(0o600)).doing(doing)?);
        fill(entry, &mut file).doing(doing)?;
        metadata.apply(&file, path)
    }

    fn directory(&mut self, path: &Path, metadata: &Metadata) -> Result<()> {
        let doing = || format!("unpacking {}", path.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (parent, name) = self.tree.parent_of(path)?;
        let opened = match openat(parent, &name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                mkdirat(parent, &name, Mode::from_raw_mode(0o700)).doing(doing)?;
                openat(parent, &name, flags, Mode::empty()).doing(doing)?
            }
            Err(Errno::NOTDIR | Errno::LOOP) if self.contents.live => {
                return Err(Error::new(format!(
                    "cannot overwrite non-directory '{}' with a directory",
                    path.display()
                )));
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                unlinkat(parent, &name, AtFlags::empty()).doing(doing)?;
                mkdirat(parent, &name, Mode::from_raw_mode(0o700)).doing(doing)?;
                openat(parent, &name, flags, Mode::empty()).doing(doing)?
            }
            opened => opened.doing(doing)?,
        };
        metadata.apply(&opened, path)?;
        self.dirs.push((path.to_owned(), metadata.time));
        Ok(())
    }

    fn root<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<()> {
        let metadata = Metadata::of(entry, &self.records, Path::new("/"))?;
        let opened = openat(
            self.tree.root(),
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .doing(|| "opening the tree's root")?;
        metadata.apply(&opened, Path::new("/"))?;
        self.dirs.push((PathBuf::new(), metadata.time));
        Ok(())
    }

    fn hard_link<R: Read>(&mut self, entry: &Entry<'_, R>, path: &Path) -> Result<()> {
        let target = entry.link_name_bytes().ok_or_else(|| refused(path, "it is a hard link to nowhere"))?;
        let target = clean(&target).map_err(|_| refused(path, "it is a hard link to outside"))?;
        if target == path {
            return Ok(());
        }
        self.clear(path)?;
        let (from, old) = self.tree.parent_of(&target)?;
        let from = from.try_clone_to_owned().doing(|| "duplicating a descriptor")?;
        let (parent, name) = self.tree.parent_of(path)?;
        match linkat(&from, &old, parent, &name, AtFlags::empty()) {
            Err(Errno::NOENT) => {
                Err(Error::new(format!("'{}' is a hard link to '{}'", path.display(), target.display()))
                    .remedy("the archive must hold the linked file itself, before the link"))
            }
            linked => linked.doing(|| format!("linking {} to {}", path.display(), target.display())),
        }
    }

    /// Where an entry goes, with what an earlier entry of its name left removed: the last one counts.
    fn clear(&mut self, path: &Path) -> Result<(BorrowedFd<'_>, std::ffi::OsString)> {
        let live = self.contents.live;
        let (parent, name) = self.tree.parent_of(path)?;
        let doing = || format!("replacing {}", path.display());
        match unlinkat(parent, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) if live => {
                return Err(Error::new(format!(
                    "cannot overwrite directory '{}' with a non-directory",
                    path.display()
                )));
            }
            Err(Errno::ISDIR) => {
                let full = by_descriptor(&parent).join(&name);
                std::fs::remove_dir_all(full).doing(doing)?;
                self.tree.forget();
                self.dirs.retain(|(dir, _)| !dir.starts_with(path));
            }
            Err(error) => return Err(error).doing(doing),
        }
        self.tree.parent_of(path)
    }

    fn set_times_of_dirs(&mut self) -> Result<()> {
        for (path, time) in std::mem::take(&mut self.dirs).into_iter().rev() {
            let doing = || format!("setting the time of {}", path.display());
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = if path.as_os_str().is_empty() {
                openat(self.tree.root(), ".", flags, Mode::empty())
            } else {
                let (parent, name) = self.tree.parent_of(&path)?;
                openat(parent, &name, flags, Mode::empty())
            };
            let times = Timestamps { last_access: time, last_modification: time };
            match opened {
                // Somebody who uses the tree has put something else there since.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if self.contents.live => {}
                opened => rustix::fs::futimens(opened.doing(doing)?, &times).doing(doing)?,
            }
        }
        Ok(())
    }
}

/// Copies a file's content; long runs of zeros become holes.
fn fill(from: &mut impl Read, to: &mut File) -> io::Result<()> {
    const GRAIN: usize = 4096;
    let mut buffer = vec![0; 64 * 1024];
    let mut hole_at_end = false;
    loop {
        let mut length = 0;
        while length < buffer.len() {
            match from.read(&mut buffer[length..])? {
                0 => break,
                more => length += more,
            }
        }
        if length == 0 {
            break;
        }
        let mut start = 0;
        while start < length {
            let is_hole = is_zero(&buffer[start..length.min(start + GRAIN)]);
            let mut end = start;
            while end < length && is_zero(&buffer[end..length.min(end + GRAIN)]) == is_hole {
                end = length.min(end + GRAIN);
            }
            if is_hole {
                to.seek(SeekFrom::Current(i64::try_from(end - start).unwrap_or(0)))?;
            } else {
                to.write_all(&buffer[start..end])?;
            }
            hole_at_end = is_hole;
            start = end;
        }
    }
    if hole_at_end {
        let length = to.stream_position()?;
        to.set_len(length)?;
    }
    Ok(())
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(16).all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests;
