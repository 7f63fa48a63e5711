//! A whole tree in one answer, for comparing two of them; and a tree of everything that a layer has to keep.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ask::{Act, verbs};
use crate::failure::{Doing, Done};

verbs! {
    /// Whole trees.
    Trees {
        /// Describes everything below a directory but other mounts, by path. Names and targets that are no text are escaped.
        "describe" describe: Describe { path: String } -> BTreeMap<String, Entry>;
        /// Makes a tree of everything that a layer has to keep.
        "make-specimens" make_specimens: MakeSpecimens { path: String } -> ();
    }
}

/// What is at a path of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its kind, as in `st_mode`.
    #[serde(rename = "type")]
    pub kind: u32,
    /// Its permissions with the set-id and sticky bits.
    pub mode: u32,
    /// Its user and group.
    pub owner: (u32, u32),
    /// When it was last changed, in seconds.
    pub seconds: i64,
    /// The nanoseconds of that second.
    pub nanoseconds: i64,
    /// Its size in bytes; 0 for a directory, whose size is the file system's affair.
    pub size: u64,
    /// Whether so much of a file is not there that it must have holes: more than file systems save by themselves.
    pub holes: bool,
    /// Where it points to, if it is a link.
    pub target: Option<String>,
    /// Its number, if it is a device.
    pub device: Option<u64>,
    /// The digest of its content, if it is a file.
    pub content: Option<String>,
    /// The first path of the same file, if it has several.
    pub same_as: Option<String>,
    /// Its extended attributes.
    pub attributes: BTreeMap<String, String>,
}

/// What the tail of a small file may save without a hole.
const SAVED: u64 = 64 << 10;

/// Text of a name, whatever bytes it has.
fn escaped(name: &OsStr) -> String {
    name.as_bytes().escape_ascii().to_string()
}

impl Act for Describe {
    fn act(self) -> Done<BTreeMap<String, Entry>> {
        let root = Path::new(&self.path);
        let device = fs::symlink_metadata(root).doing(&self.path)?.dev();
        let mut walk = Walk { root, device, links: BTreeMap::new(), found: BTreeMap::new() };
        walk.below(Path::new(""))?;
        Ok(walk.found)
    }
}

struct Walk<'a> {
    root: &'a Path,
    device: u64,
    links: BTreeMap<u64, PathBuf>,
    found: BTreeMap<String, Entry>,
}

impl Walk<'_> {
    fn below(&mut self, below: &Path) -> Done<()> {
        let dir = self.root.join(below);
        let shown = dir.display();
        let names: Result<Vec<_>, _> =
            fs::read_dir(&dir).doing(&shown)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
        let mut names = names.doing(&shown)?;
        names.sort();
        for name in names {
            let path = below.join(name);
            let full = self.root.join(&path);
            let of = fs::symlink_metadata(&full).doing(full.display())?;
            let entry = self.entry(&full, &path, &of)?;
            self.found.insert(escaped(path.as_os_str()), entry);
            if of.is_dir() && of.dev() == self.device {
                self.below(&path)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, full: &Path, path: &Path, of: &Metadata) -> Done<Entry> {
        let shown = full.display();
        let content = if of.is_file() { Some(digest(full).doing(&shown)?) } else { None };
        let same_as = if !of.is_dir() && of.nlink() > 1 {
            let first = self.links.entry(of.ino()).or_insert_with(|| path.to_owned());
            Some(escaped(first.as_os_str()))
        } else {
            None
        };
        let target = if of.is_symlink() {
            Some(escaped(fs::read_link(full).doing(&shown)?.as_os_str()))
        } else {
            None
        };
        Ok(Entry {
            kind: of.mode() & libc::S_IFMT,
            mode: of.mode() & 0o7777,
            owner: (of.uid(), of.gid()),
            seconds: of.mtime(),
            nanoseconds: of.mtime_nsec(),
            size: if of.is_dir() { 0 } else { of.size() },
            holes: of.is_file() && of.blocks() * 512 + SAVED < of.size(),
            target,
            device: (of.rdev() != 0).then(|| of.rdev()),
            content,
            same_as,
            attributes: attributes(full)?,
        })
    }
}

/// The digest of a file's content, in hexadecimal.
fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let length = file.read(&mut chunk)?;
        if length == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&chunk[..length]);
    }
}

fn attributes(full: &Path) -> Done<BTreeMap<String, String>> {
    let names = match xattr::list(full) {
        // The file system has none at all.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(BTreeMap::new()),
        names => names.doing(full.display())?,
    };
    let mut found = BTreeMap::new();
    for name in names {
        // Where the file system keeps them, the overlay's own are seen by nobody else.
        if let Ok(Some(value)) = xattr::get(full, &name) {
            found.insert(name.to_string_lossy().into_owned(), value.escape_ascii().to_string());
        }
    }
    Ok(found)
}

impl Act for MakeSpecimens {
    fn act(self) -> Done<()> {
        specimens(Path::new(&self.path)).doing("making specimens")
    }
}

fn specimens(root: &Path) -> std::io::Result<()> {
    let at = |name: &str| root.join(name);
    let mode = |name: &str, mode| fs::set_permissions(at(name), Permissions::from_mode(mode));
    fs::create_dir_all(at("dir/sub"))?;
    mode("dir", 0o1770)?;
    fs::write(at("set-id"), "program")?;
    chown(at("set-id"), Some(1234), Some(5678))?;
    mode("set-id", 0o6751)?;
    fs::write(at("linked"), "once")?;
    fs::hard_link(at("linked"), at("dir/again"))?;
    symlink("../nowhere at all", at("dir/soft"))?;
    fs::write(at(&"long".repeat(60)), "")?;
    fs::write(root.join(OsStr::from_bytes(b"caf\xe9\n")), "name")?;
    let sparse = File::create(at("sparse"))?;
    sparse.write_at(b"end", 8 << 20)?;
    fs::write(at("capable"), "program")?;
    // VFS_CAP_REVISION_2 with CAP_NET_RAW, capabilities(7).
    let mut capability = 0x0200_0001_u32.to_le_bytes().to_vec();
    capability.extend((1_u32 << 13).to_le_bytes());
    capability.extend([0; 12]);
    xattr::set(at("capable"), "security.capability", &capability)?;
    nix::unistd::mkfifo(&at("pipe"), Mode::S_IRUSR)?;
    mknod(&at("null"), SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(1, 3))?;
    let past = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    File::open(at("linked"))?.set_modified(past)?;
    File::open(at("dir/sub"))?.set_modified(past)
}
