//! A result at a path that the user names.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fchmod, fchown, fcntl_getfl, fstatfs,
    ftruncate, openat, readlinkat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

/// As many links as the kernel follows. Source: path_resolution(7).
const MOST_LINKS: usize = 40;

/// An output that was opened before the work whose result it takes, so that a bad path is told at once.
///
/// A regular file appears, or is replaced, as a whole by [`Output::finish`]; without that call it stays as it was. Whatever
/// else is named is written through: devices, FIFOs, `/dev/stdout` and other descriptors of this process. Links are followed
/// and stay links. A socket cannot be opened by its path, so it is an error.
#[derive(Debug)]
pub struct Output {
    file: File,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Written under another name in the same directory.
    Aside { dir: OwnedFd, temporary: CString, name: CString, rights: Rights },
    /// A regular file in a directory that takes no other one: cut at the first byte.
    InPlace { untouched: bool },
    /// Anything else.
    Through,
}

/// Who may read a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// Those who might before, or whom the caller's mask allows it.
    Usual,
    /// Its owner.
    Private,
}

/// What a path leads to, its links followed.
enum Found {
    File { dir: OwnedFd, name: OsString, stat: Option<Stat> },
    Descriptor(OwnedFd),
}

impl Output {
    /// Opens an output. A FIFO is waited for until somebody reads it, as by a shell.
    ///
    /// # Errors
    /// The path cannot be written to; the error says why, but not the path.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_as(path, Rights::Usual)
    }

    /// The same for what its owner alone may read: a regular file has mode 0600 from the first byte, whoever it was open to before,
    /// and is on the disk before it takes its place.
    ///
    /// # Errors
    /// As of [`Output::open`].
    pub fn open_private(path: &Path) -> io::Result<Self> {
        Self::open_as(path, Rights::Private)
    }

    fn open_as(path: &Path, rights: Rights) -> io::Result<Self> {
        match follow(path)? {
            Found::Descriptor(fd) => Ok(Self { file: fd.into(), kind: Kind::Through }),
            Found::File { dir, name, stat } => match stat
                .map(|stat| (stat, FileType::from_raw_mode(stat.st_mode)))
            {
                None => Self::aside(dir, &name, None, rights),
                Some((stat, FileType::RegularFile)) => Self::aside(dir, &name, Some(&stat), rights),
                Some((_, FileType::Directory)) => Err(Errno::ISDIR.into()),
                Some((_, FileType::Socket)) => {
                    Err(io::Error::new(io::ErrorKind::Unsupported, "it is a socket, which no path opens"))
                }
                Some(_) => {
                    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    Ok(Self { file: openat(&dir, &name, flags, Mode::empty())?.into(), kind: Kind::Through })
                }
            },
        }
    }

    fn aside(dir: OwnedFd, name: &OsStr, old: Option<&Stat>, rights: Rights) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if old.is_some() {
            // A caller that may not write to the file may not replace it either, even if the directory allows that.
            openat(&dir, name, flags, Mode::empty())?;
        }
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let temporary = CString::new(format!(".partial-{}-{number}", std::process::id()))?;
            let mode = Mode::from_raw_mode(if rights == Rights::Private { 0o600 } else { 0o666 });
            match openat(&dir, &temporary, flags | OFlags::CREATE | OFlags::EXCL, mode) {
                Err(Errno::EXIST) => {}
                Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) if old.is_some() => {
                    let file: File = openat(&dir, name, flags, Mode::empty())?.into();
                    if rights == Rights::Private {
                        fchmod(&file, mode)?;
                    }
                    return Ok(Self { file, kind: Kind::InPlace { untouched: true } });
                }
                Err(error) => return Err(error.into()),
                Ok(file) => {
                    if rights == Rights::Private {
                        // The mode above is cut by the caller's mask.
                        fchmod(&file, mode)?;
                    } else if let Some(old) = old {
                        let _ = fchown(
                            &file,
                            Some(rustix::fs::Uid::from_raw(old.st_uid)),
                            Some(rustix::fs::Gid::from_raw(old.st_gid)),
                        );
                        let _ = fchmod(&file, Mode::from_raw_mode(old.st_mode));
                    }
                    let name = CString::new(name.as_bytes())?;
                    let kind = Kind::Aside { dir, temporary, name, rights };
                    return Ok(Self { file: file.into(), kind });
                }
            }
        }
    }

    /// Whether it is a regular file that appears as a whole.
    pub fn is_whole(&self) -> bool {
        matches!(self.kind, Kind::Aside { .. })
    }

    /// The file that is written to. What is written to it directly skips nothing but the cut of a file that is replaced in place.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Puts the finished file in its place.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn finish(mut self) -> io::Result<()> {
        self.cut()?;
        let Kind::Aside { dir, temporary, name, rights } = &self.kind else { return Ok(()) };
        if *rights == Rights::Private {
            self.file.sync_data()?;
        }
        renameat(dir, temporary, dir, name)?;
        self.kind = Kind::Through;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        if matches!(self.kind, Kind::InPlace { untouched: true }) {
            ftruncate(&self.file, 0)?;
            self.kind = Kind::InPlace { untouched: false };
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.cut()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Kind::Aside { dir, temporary, .. } = &self.kind {
            let _ = unlinkat(dir, temporary, AtFlags::empty());
        }
    }
}

/// Writes a small result at once: a regular file is replaced as a whole, anything else is written through.
///
/// # Errors
/// Same errors as [`Output::open`], or the disk is full.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut output = Output::open(path)?;
    output.write_all(bytes)?;
    output.finish()
}

fn follow(path: &Path) -> io::Result<Found> {
    let mut base: OwnedFd = open_dir(CWD, Path::new("."))?;
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let (parent, name) = split(&path)?;
        let dir = open_dir(base.as_fd(), &parent)?;
        let stat = match statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Found::File { dir, name, stat: None }),
            stat => stat?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(Found::File { dir, name, stat: Some(stat) });
        }
        if fstatfs(&dir)?.f_type == PROC_SUPER_MAGIC {
            // Links of procfs are no paths: what they show need not exist by that name.
            if let Some(fd) = own_descriptor(&dir, &name)? {
                return Ok(Found::Descriptor(fd));
            }
            if !is_text(&dir, &name)? {
                let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
                return Ok(Found::Descriptor(openat(&dir, &name, flags, Mode::empty())?));
            }
        }
        path = PathBuf::from(OsString::from_vec(readlinkat(&dir, &name, Vec::new())?.into_bytes()));
        base = dir;
    }
    Err(Errno::LOOP.into())
}

fn open_dir(base: BorrowedFd<'_>, dir: &Path) -> io::Result<OwnedFd> {
    Ok(openat(base, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The directory, and the name in it.
fn split(path: &Path) -> io::Result<(PathBuf, OsString)> {
    if path.as_os_str().is_empty() {
        return Err(Errno::NOENT.into());
    }
    let ends = path.as_os_str().as_bytes();
    let name = path.file_name().filter(|_| !ends.ends_with(b"/") && !ends.ends_with(b"/."));
    let name = name.ok_or(Errno::ISDIR)?.to_owned();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((parent.to_owned(), name))
}

/// Links of procfs that are ordinary ones: /proc/self, /proc/thread-self, /proc/mounts and the like have relative targets.
fn is_text(dir: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let target = readlinkat(dir, name, Vec::new())?;
    let target = target.to_bytes();
    // A descriptor's link is an absolute path or something like `pipe:[1]`.
    Ok(!target.starts_with(b"/") && !target.contains(&b':'))
}

/// A copy of a descriptor of this process, if that is what is named: opening the link again would truncate a file that was
/// redirected here, and cannot open a socket at all.
fn own_descriptor(dir: &OwnedFd, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { return Ok(None) };
    let same = |own: &str| -> io::Result<bool> {
        let Ok(own) = openat(CWD, own, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        else {
            return Ok(false);
        };
        let (own, there) = (rustix::fs::fstat(&own)?, rustix::fs::fstat(dir)?);
        Ok((own.st_dev, own.st_ino) == (there.st_dev, there.st_ino))
    };
    if number < 0 || !(same("/proc/self/fd")? || same("/proc/thread-self/fd")?) {
        return Ok(None);
    }
    // SAFETY: it is only borrowed for the call that copies it, which fails if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let copy = rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?;
    if (fcntl_getfl(&copy)? & OFlags::RWMODE) == OFlags::RDONLY {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not open for writing"));
    }
    Ok(Some(copy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_regular_file_appears_as_a_whole_and_keeps_its_links_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("sub/file"), "old").unwrap();
        fs::set_permissions(at("sub/file"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("sub/file", at("link")).unwrap();
        symlink(at("link"), at("again")).unwrap();
        let mut output = Output::open(&at("again")).unwrap();
        output.write_all(b"new").unwrap();
        assert_eq!(fs::read(at("sub/file")).unwrap(), b"old");
        output.finish().unwrap();
        assert_eq!(fs::read(at("sub/file")).unwrap(), b"new");
        assert_eq!(fs::metadata(at("sub/file")).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(at("again")).unwrap().is_symlink());
        drop(Output::open(&at("sub/file")).unwrap());
        assert_eq!(fs::read(at("sub/file")).unwrap(), b"new", "nothing finished it");
        symlink("sub/absent", at("dangling")).unwrap();
        write_whole(&at("dangling"), b"made").unwrap();
        assert_eq!(fs::read(at("sub/absent")).unwrap(), b"made");
        let mut names: Vec<_> =
            fs::read_dir(at("sub")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["absent", "file"]);
    }

    #[test]
    fn a_private_file_was_never_open_to_others_and_keeps_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("open"), "old").unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o644)).unwrap();
        symlink("open", at("link")).unwrap();
        for name in ["link", "new"] {
            let mut output = Output::open_private(&at(name)).unwrap();
            assert_eq!(output.as_file().metadata().unwrap().mode() & 0o7777, 0o600);
            output.write_all(b"secret").unwrap();
            output.finish().unwrap();
            assert_eq!(fs::read(at(name)).unwrap(), b"secret");
            assert_eq!(fs::metadata(at(name)).unwrap().mode() & 0o7777, 0o600);
        }
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        Output::open_private(Path::new("/dev/null")).unwrap().finish().unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn devices_fifos_and_descriptors_are_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        symlink("/dev/null", at("null")).unwrap();
        write_whole(&at("null"), b"gone").unwrap();
        write_whole(Path::new("/dev/null"), b"gone").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        nix_mkfifo(&at("fifo"));
        symlink("fifo", at("pipe")).unwrap();
        let fifo = at("fifo");
        let reader = std::thread::spawn(move || fs::read(fifo).unwrap());
        write_whole(&at("pipe"), b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(fs::metadata(at("fifo")).unwrap().file_type().is_fifo());
        // A redirected file goes on where it was, and is not replaced.
        let mut file = File::options().create(true).append(true).read(true).open(at("redirected")).unwrap();
        file.write_all(b"before ").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        for name in [format!("/proc/self/fd/{number}"), format!("/dev/fd/{number}")] {
            write_whole(Path::new(&name), b"more ").unwrap();
        }
        let mut text = String::new();
        File::open(at("redirected")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "before more more ");
        assert_eq!(fs::metadata(at("redirected")).unwrap().ino(), file.metadata().unwrap().ino());
    }

    #[test]
    fn what_cannot_be_written_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert!(Output::open(&at("socket")).unwrap_err().to_string().contains("socket"));
        assert!(Output::open(dir.path()).is_err());
        assert!(Output::open(&at("absent/file")).is_err());
        assert!(Output::open(Path::new("")).is_err());
        assert!(Output::open(&at("file/")).is_err());
        symlink("loop", at("loop")).unwrap();
        assert!(Output::open(&at("loop")).is_err());
        let full = write_whole(Path::new("/dev/full"), b"x").unwrap_err();
        assert_eq!(full.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        assert!(write_whole(Path::new("/proc/self/fd/999"), b"x").is_err());
    }

    fn nix_mkfifo(path: &Path) {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    }
}
