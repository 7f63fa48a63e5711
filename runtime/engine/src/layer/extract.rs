//! An archive becomes a tree. Whatever the archive says, nothing outside of the tree is read or written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, linkat, makedev, mkdirat, mknodat, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::guard::Guard;
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
    // What follows the end mark belongs to the archive's digest; whoever computes it wants to have read it.
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

/// What an entry has beside its content.
struct Metadata {
    mode: u32,
    owner: Uid,
    group: Gid,
    time: Timespec,
    attributes: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    fn of<R: Read>(entry: &Entry<'_, R>, records: &Records, path: &Path) -> Result<Self> {
        let doing = || format!("reading the header of {}", path.display());
        let mut attributes = Vec::new();
        let mut time = None;
        for (key, value) in records {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                attributes.push((String::from_utf8_lossy(name).into_owned(), value.clone()));
            } else if key == b"mtime" {
                time = std::str::from_utf8(value).ok().and_then(parse_time);
            }
        }
        for (name, _) in &attributes {
            if name.starts_with("trusted.overlay.")
                || name.starts_with("user.overlay.")
                || name.contains('\0')
            {
                return Err(refused(path, &format!("its attribute {name} would steer the overlay")));
            }
        }
        let header = entry.header();
        // Archivers leave out what is 0.
        let is_blank = |field: &[u8]| field.iter().all(|byte| matches!(byte, 0 | b' '));
        let number =
            |field: &[u8], value: io::Result<u64>| if is_blank(field) { Ok(0) } else { value.doing(doing) };
        let raw = header.as_old();
        let id = |value: Result<u64>, what: &str| {
            let value = value?;
            // The last number means "no change" to chown(2).
            u32::try_from(value)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| refused(path, &format!("its {what} {value} is out of range")))
        };
        let seconds = i64::try_from(number(&raw.mtime, header.mtime())?).unwrap_or(0);
        Ok(Self {
            mode: header.mode().doing(doing)? & 0o7777,
            owner: Uid::from_raw(id(number(&raw.uid, header.uid()), "owner")?),
            group: Gid::from_raw(id(number(&raw.gid, header.gid()), "group")?),
            time: time.unwrap_or(Timespec { tv_sec: seconds, tv_nsec: 0 }),
            attributes,
        })
    }

    /// chown(2) clears set-id bits and capabilities, so it comes first.
    fn apply(&self, file: impl AsFd, path: &Path) -> Result<()> {
        let doing = || format!("setting the attributes of {}", path.display());
        fchown(&file, Some(self.owner), Some(self.group)).doing(doing)?;
        fchmod(&file, Mode::from_raw_mode(self.mode)).doing(doing)?;
        for (name, value) in &self.attributes {
            match fsetxattr(&file, name.as_str(), value, XattrFlags::empty()) {
                // The file system has no such attributes, so no reader can miss them there.
                Err(Errno::OPNOTSUPP) => {}
                set => set.doing(|| format!("setting {name} of {}", path.display()))?,
            }
        }
        let times = Timestamps { last_access: self.time, last_modification: self.time };
        rustix::fs::futimens(&file, &times).doing(doing)
    }

    /// For what must not be opened: links, devices, pipes. What has the name is looked at before it is changed: in a tree that
    /// is in use it may have been exchanged since it was made.
    fn apply_unopened(
        &self,
        parent: BorrowedFd<'_>,
        name: &std::ffi::OsStr,
        kind: FileType,
    ) -> rustix::io::Result<()> {
        let made = openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let stat = rustix::fs::fstat(&made)?;
        if FileType::from_raw_mode(stat.st_mode) != kind || stat.st_nlink != 1 {
            return Err(Errno::STALE);
        }
        chownat(&made, "", Some(self.owner), Some(self.group), AtFlags::EMPTY_PATH)?;
        set_times(&made, self.time)
    }
}

/// Sets the times of what a descriptor refers to, opened or not.
fn set_times(of: &OwnedFd, time: Timespec) -> rustix::io::Result<()> {
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(of, "", &times, AtFlags::EMPTY_PATH)
}

/// Seconds with a fraction, as extended headers have them.
fn parse_time(text: &str) -> Option<Timespec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some(Timespec { tv_sec: seconds.parse().ok()?, tv_nsec: nanoseconds.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const ALL: Limits = Limits { bytes: 1 << 30, entries: 10_000 };
    const PLAIN: Contents = Contents { devices: false, whiteouts: true, live: false };

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let is_file = kind.is_file();
            header.set_size(if is_file { content.len() as u64 } else { 0 });
            if !is_file && !content.is_empty() {
                header.set_link_name_literal(content).unwrap();
            }
            // As a hostile program would write it: the library refuses such names.
            let place = header.as_gnu_mut().unwrap();
            place.name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, if is_file { content.as_bytes() } else { b"" }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn refusal(entries: &[(&str, EntryType, &str)]) -> String {
        let around = tempfile::tempdir().unwrap();
        let tree = around.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(around.path().join("outside"), "untouched").unwrap();
        let error = extract(archive(entries).as_slice(), &tree, PLAIN, ALL).unwrap_err().to_string();
        let left: Vec<_> =
            std::fs::read_dir(around.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert_eq!(std::fs::read_to_string(around.path().join("outside")).unwrap(), "untouched");
        error
    }

    #[test]
    fn hostile_entries_are_refused_and_write_nothing_outside() {
        use EntryType::{Char, Directory, Link, Regular, Symlink};
        for (entries, why) in [
            (&[("../new", Regular, "x")][..], "climbs"),
            (&[("/tmp/new", Regular, "x")], "absolute"),
            (&[("way", Symlink, ".."), ("way/new", Regular, "x")], "no directory of the archive"),
            (&[("way", Symlink, ".."), ("way/new", Directory, "")], "no directory of the archive"),
            (&[("hard", Link, "../outside")], "hard link to outside"),
            (&[("way", Symlink, ".."), ("hard", Link, "way/outside")], "no directory of the archive"),
            (&[("node", Char, "")], "device"),
            (&[("dir/.wh...", Regular, "")], "own entries"),
            (&[("way", Symlink, ".."), ("way/.wh.outside", Regular, "")], "no directory of the archive"),
        ] {
            let error = refusal(entries);
            assert!(error.contains(why), "{why}: {error}");
        }
    }

    #[test]
    fn a_link_may_point_anywhere_and_is_replaced_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let target = outside.path().to_str().unwrap();
        let bytes = archive(&[("link", EntryType::Symlink, target), ("link", EntryType::Regular, "new")]);
        extract(bytes.as_slice(), dir.path(), PLAIN, ALL).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("link")).unwrap(), "new");
        assert_eq!(std::fs::read(outside.path()).unwrap(), b"");
    }

    #[test]
    fn limits_hold() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = archive(&[("file", EntryType::Regular, &"x".repeat(5000))]);
        let small = Limits { bytes: 4000, entries: 10 };
        assert!(extract(bytes.as_slice(), dir.path(), PLAIN, small).is_err());
        let few = Limits { bytes: 1 << 20, entries: 0 };
        assert!(
            extract(bytes.as_slice(), dir.path(), PLAIN, few).unwrap_err().to_string().contains("number 1")
        );
    }

    #[test]
    fn zeros_become_holes_and_content_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut content = vec![0_u8; 3 << 20];
        content[1 << 20] = 7;
        let mut file = File::create(dir.path().join("f")).unwrap();
        fill(&mut content.as_slice(), &mut file).unwrap();
        assert!(std::fs::read(dir.path().join("f")).unwrap() == content);
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn times_have_fractions() {
        let time = parse_time("12.5").unwrap();
        assert_eq!((time.tv_sec, time.tv_nsec), (12, 500_000_000));
        assert!(parse_time("x").is_none());
    }
}
