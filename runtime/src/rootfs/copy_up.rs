//! Fills a new tmpfs with what it is about to cover: the option `tmpcopyup`.
//!
//! The directory is the image's, so it may hold anything: links are copied and never followed, and what is read was
//! looked at by the descriptor that it is read from.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    fgetxattr, flistxattr, fsetxattr, fstat, mkdirat, mknodat, openat, readlinkat, statat, symlinkat,
    utimensat,
};
use rustix::io::Errno;

use crate::error::{Doing, Error, Remedy, Result};

/// Each level holds two descriptors open.
const DEEPEST: u32 = 128;

/// What of a new tmpfs its options have said, and so is not the covered directory's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    pub(super) mode: bool,
    pub(super) uid: bool,
    pub(super) gid: bool,
}

/// Copies what is in a directory, and its owner and mode where nothing else was said, to another one.
///
/// # Errors
/// Names the file that could not be copied.
pub(super) fn copy(from: &impl AsFd, to: &impl AsFd, said: Said) -> Result<()> {
    let doing = || "option tmpcopyup: copying the directory";
    let from = openat(from, ".", directory(), Mode::empty()).doing(doing)?;
    let to = openat(to, ".", directory(), Mode::empty()).doing(doing)?;
    let before = fstat(&to).doing(doing)?;
    copy_directory(&from, &to, DEEPEST)?;
    let uid = said.uid.then(|| Uid::from_raw(before.st_uid));
    let gid = said.gid.then(|| Gid::from_raw(before.st_gid));
    chownat(&to, c"", uid, gid, AtFlags::EMPTY_PATH).doing(doing)?;
    if said.mode {
        rustix::fs::fchmod(&to, Mode::from_raw_mode(before.st_mode)).doing(doing)?;
    }
    Ok(())
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, levels: u32) -> Result<()> {
    if levels == 0 {
        return Err(Error::new(format!("option tmpcopyup: directories nest deeper than {DEEPEST}")));
    }
    for entry in Dir::read_from(from).doing(|| "option tmpcopyup: reading a directory")? {
        let entry = entry.doing(|| "option tmpcopyup: reading a directory")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(from, to, name, levels).map_err(|error| {
            Error::new(format!("option tmpcopyup: {}: {error}", name.to_string_lossy().escape_debug()))
        })?;
    }
    let stat = fstat(from).doing(|| "looking at it")?;
    copy_attributes(from, to)?;
    set_owner_and_times(to, c"", &stat, AtFlags::EMPTY_PATH)
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr, levels: u32) -> Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).doing(|| "looking at it")?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::from_raw_mode(0o700)).doing(|| "making it")?;
            let below = openat(from, name, directory(), Mode::empty()).doing(|| "opening it")?;
            let made = openat(to, name, directory(), Mode::empty()).doing(|| "opening the copy")?;
            copy_directory(&below, &made, levels - 1)
        }
        FileType::RegularFile => copy_file(from, to, name),
        FileType::Symlink => {
            let target = readlinkat(from, name, Vec::new()).doing(|| "reading the link")?;
            symlinkat(target.as_c_str(), to, name).doing(|| "making the link")?;
            set_owner_and_times(to, name, &stat, AtFlags::SYMLINK_NOFOLLOW)
        }
        kind => {
            mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)
                .doing(|| "making the node")
                .or_advise(|| "device nodes cannot be made in a user namespace")?;
            set_owner_and_times(to, name, &stat, AtFlags::SYMLINK_NOFOLLOW)
        }
    }
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<()> {
    // If somebody put a pipe in its place since, opening it must not wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut source = File::from(openat(from, name, flags, Mode::empty()).doing(|| "opening it")?);
    let stat = fstat(&source).doing(|| "looking at it")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new("it was replaced while it was copied"));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(to, name, flags, Mode::from_raw_mode(0o600)).doing(|| "making the copy")?;
    let mut made = File::from(made);
    std::io::copy(&mut source, &mut made)
        .doing(|| "copying it")
        .or_advise(|| "is the size= of the tmpfs large enough?")?;
    copy_attributes(&source, &made)?;
    set_owner_and_times(&OwnedFd::from(made), c"", &stat, AtFlags::EMPTY_PATH)
}

/// A change of owner drops set-user-id bits and capabilities, so the mode comes after it.
fn set_owner_and_times(at: &OwnedFd, name: &CStr, stat: &Stat, flags: AtFlags) -> Result<()> {
    let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(at, name, Some(owner), Some(group), flags)
        .doing(|| "giving it to its owner")
        .or_advise(|| "is the owner mapped in this user namespace?")?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    if name.is_empty() {
        rustix::fs::fchmod(at, mode).doing(|| "setting its mode")?;
    } else if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        chmodat(at, name, mode, AtFlags::empty()).doing(|| "setting its mode")?;
    }
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    let set =
        if name.is_empty() { rustix::fs::futimens(at, &times) } else { utimensat(at, name, &times, flags) };
    set.doing(|| "setting its times")
}

/// Extended attributes, with file capabilities and labels among them. A tmpfs does not know every kind.
fn copy_attributes(from: &impl AsFd, to: &impl AsFd) -> Result<()> {
    let mut names = vec![0; 64 * 1024];
    let length = match flistxattr(from, &mut names) {
        Err(Errno::NOTSUP) => return Ok(()),
        listed => listed.doing(|| "listing its attributes")?,
    };
    let mut value = vec![0; 64 * 1024];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let length = fgetxattr(from, name, &mut value[..]).doing(|| "reading an attribute")?;
        match fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Err(Errno::NOTSUP | Errno::PERM) => {}
            set => set.doing(|| format!("setting its attribute {}", name.to_string_lossy()))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn a_tree_is_copied_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub/deep")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(dir.path().join("secret"), "host").unwrap();
        fs::write(from.join("sub/file"), "content").unwrap();
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o1705)).unwrap();
        symlink(dir.path().join("secret"), from.join("link")).unwrap();
        nix::unistd::mkfifo(&from.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        copy(&open(&from), &open(&to), Said::default()).unwrap();
        assert_eq!(fs::read(to.join("sub/file")).unwrap(), b"content");
        let meta = fs::metadata(to.join("sub/file")).unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o4751);
        assert_eq!(meta.mtime_nsec(), fs::metadata(from.join("sub/file")).unwrap().mtime_nsec());
        assert_eq!(fs::metadata(to.join("sub")).unwrap().mode() & 0o7777, 0o1705);
        assert!(to.join("sub/deep").is_dir() && fs::symlink_metadata(to.join("link")).unwrap().is_symlink());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), dir.path().join("secret"));
        assert!(to.join("pipe").exists());
    }

    #[test]
    fn what_the_options_say_of_the_copy_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for (path, mode) in [(&from, 0o751), (&to, 0o1777)] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mode = || fs::metadata(&to).unwrap().mode() & 0o7777;
        copy(&open(&from), &open(&to), Said { mode: true, ..Said::default() }).unwrap();
        assert_eq!(mode(), 0o1777);
        copy(&open(&from), &open(&to), Said::default()).unwrap();
        assert_eq!(mode(), 0o751);
    }
}
