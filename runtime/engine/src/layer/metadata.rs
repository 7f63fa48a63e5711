//! What an entry of an archive has beside its content.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, openat, utimensat,
};
use rustix::io::Errno;
use tar::Entry;

use super::pax::Records;
use super::place::refused;
use runtime::error::{Doing, Result};

/// What an entry has beside its content.
pub(super) struct Metadata {
    pub(super) mode: u32,
    owner: Uid,
    group: Gid,
    pub(super) time: Timespec,
    attributes: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    pub(super) fn of<R: Read>(entry: &Entry<'_, R>, records: &Records, path: &Path) -> Result<Self> {
        let doing = || format!("reading the header of {}", path.display());
        let mut attributes = Vec::new();
        let mut time = None;
        for (key, value) in records {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                attributes.push((String::from_utf8_lossy(name).into_owned(), value.clone()));
            } else if key == b"mtime" {
                time = std::str::from_utf8(value).ok().and_then(parse_time);
            } else if matches!(key.as_slice(), b"uid" | b"gid") {
                // The parser of entries passes over one that it cannot read, and the file would belong to root.
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
                if number.is_none() {
                    let what = if key == b"uid" { "owner" } else { "group" };
                    let value = String::from_utf8_lossy(value);
                    return Err(refused(
                        path,
                        &format!("its {what} '{}' is no number", value.escape_debug()),
                    ));
                }
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
    pub(super) fn apply(&self, file: impl AsFd, path: &Path) -> Result<()> {
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
    pub(super) fn apply_unopened(
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

    #[test]
    fn times_have_fractions() {
        let time = parse_time("12.5").unwrap();
        assert_eq!((time.tv_sec, time.tv_nsec), (12, 500_000_000));
        assert!(parse_time("x").is_none());
    }
}
