//! The changes that an overlay's upper directory holds. Only that directory is walked, so the cost grows with the
//! change and not with the image. Mounts below it are no part of it: a volume's contents lie elsewhere.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::node::{FileId, Node};
use runtime::error::{Doing, Result};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was added, or replaces what lower layers have under its name.
    Set,
    /// It is a directory that replaces a whole lower one.
    SetOpaque,
    /// Its name is gone from the merged tree.
    Deleted,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Relative to the root of the tree.
    pub path: PathBuf,
    /// What happened to it.
    pub what: What,
}

/// Lists the changes, parents before children and otherwise in the order of their names' bytes, so that the same
/// change always gives the same list.
///
/// # Errors
/// Same errors as [`visit`].
pub fn diff(upper: &Path) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    visit(upper, &mut |change, _| {
        changes.push(change);
        Ok(())
    })?;
    Ok(changes)
}

/// Shows the changes one by one, in the order of [`diff`]; of a directory with many names these alone are held.
///
/// # Errors
/// A directory cannot be read, by path; or the visitor's own.
pub fn visit(upper: &Path, visitor: &mut dyn FnMut(Change, Node) -> Result<()>) -> Result<()> {
    Walk { marks: true, enters: &|_| false }.through(&Node::open(upper)?, visitor)
}

/// Directories that are open at once; those further up are opened again when the walk comes back to them.
const MOST_OPEN: usize = 64;

/// A walk through a tree that others may change meanwhile. Each name is opened once, in the directory that was opened before,
/// and no link is followed: the walk cannot leave the tree, whatever moves in it.
pub(super) struct Walk<'a> {
    /// An overlay's marks have their meaning; otherwise they are files like others.
    pub(super) marks: bool,
    /// Whether a mount inside of the tree is walked through; all are shown.
    pub(super) enters: &'a dyn Fn(&Node) -> bool,
}

/// A directory on the way down.
struct Level {
    dir: Option<OwnedFd>,
    id: FileId,
    path: PathBuf,
    names: std::vec::IntoIter<OsString>,
}

impl Level {
    fn of(node: &Node, path: PathBuf) -> rustix::io::Result<Self> {
        let dir = node.directory()?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if !matches!(name.as_slice(), b"." | b"..") {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        Ok(Self { dir: Some(dir), id: node.id(), path, names: names.into_iter() })
    }

    /// Opens it again; `None` if something else has its place.
    fn reopen(&self, root: &Node) -> rustix::io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            return match openat2(root, &self.path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => continue,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
                opened => {
                    let opened = opened?;
                    let stat = rustix::fs::fstat(&opened)?;
                    Ok(((stat.st_dev, stat.st_ino) == self.id).then_some(opened))
                }
            };
        }
    }
}

impl Walk<'_> {
    pub(super) fn through(
        &self,
        root: &Node,
        visitor: &mut dyn FnMut(Change, Node) -> Result<()>,
    ) -> Result<()> {
        let doing = |path: &Path| format!("reading {}", Path::new("/").join(path).display());
        let top = Level::of(root, PathBuf::new()).doing(|| doing(Path::new("")))?;
        let mut levels = vec![top];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            if level.dir.is_none() {
                level.dir = level.reopen(root).doing(|| doing(&level.path))?;
            }
            let Some(dir) = &level.dir else {
                // The directory was moved away: the rest of it is no longer in this tree.
                levels.pop();
                continue;
            };
            let Some(node) = Node::child(dir, &name).doing(|| doing(&path))? else { continue };
            let what = self.what(&node).doing(|| doing(&path))?;
            let is_below = node.is_dir() && (!node.is_mounted() || (self.enters)(&node));
            let below = is_below.then(|| Level::of(&node, path.clone())).transpose();
            let below = below.doing(|| doing(&path))?;
            visitor(Change { path, what }, node)?;
            if let Some(below) = below {
                if let Some(high) = levels.len().checked_sub(MOST_OPEN) {
                    levels[high].dir = None;
                }
                levels.push(below);
            }
        }
        Ok(())
    }

    fn what(&self, node: &Node) -> std::io::Result<What> {
        Ok(if !self.marks {
            What::Set
        } else if node.is_whiteout() {
            What::Deleted
        } else if node.is_dir() && node.is_opaque()? {
            What::SetOpaque
        } else {
            What::Set
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn parents_come_first_and_names_in_byte_order() {
        let upper = tempfile::tempdir().unwrap();
        for path in ["b/z", "b/a", "B"] {
            fs::create_dir_all(upper.path().join(path)).unwrap();
        }
        fs::write(upper.path().join("a"), "x").unwrap();
        let paths: Vec<_> = diff(upper.path()).unwrap().into_iter().map(|change| change.path).collect();
        assert_eq!(paths, ["B", "a", "b", "b/a", "b/z"].map(PathBuf::from));
    }

    #[test]
    fn a_directory_by_its_descriptor_is_walked_to_its_depths() {
        let upper = tempfile::tempdir().unwrap();
        fs::create_dir_all(upper.path().join("a/b")).unwrap();
        let opened = fs::File::open(upper.path()).unwrap();
        let path = runtime::rootfs::resolve::by_descriptor(&opened);
        assert_eq!(diff(&path).unwrap().len(), 2);
    }

    #[test]
    fn more_levels_than_descriptors_are_walked_and_come_back() {
        let upper = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", MOST_OPEN * 3).collect();
        fs::create_dir_all(upper.path().join(&deep)).unwrap();
        fs::write(upper.path().join("d/d/z"), "").unwrap();
        let paths: Vec<_> = diff(upper.path()).unwrap().into_iter().map(|change| change.path).collect();
        assert_eq!(paths.len(), MOST_OPEN * 3 + 1);
        assert_eq!((&paths[MOST_OPEN * 3 - 1], &paths[MOST_OPEN * 3]), (&deep, &PathBuf::from("d/d/z")));
    }

    #[test]
    fn a_directory_that_became_a_link_while_the_walk_was_below_it_is_not_entered_again() {
        let dir = tempfile::tempdir().unwrap();
        let (upper, outside) = (dir.path().join("upper"), dir.path().join("outside"));
        let deep: PathBuf = std::iter::repeat_n("d", MOST_OPEN + 2).collect();
        fs::create_dir_all(upper.join(deep)).unwrap();
        fs::write(upper.join("d/z"), "").unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("z"), "secret").unwrap();
        let (mut seen, mut number) = (Vec::new(), 0);
        visit(&upper, &mut |change, node| {
            number += 1;
            if number == MOST_OPEN + 2 {
                fs::rename(upper.join("d"), dir.path().join("away")).unwrap();
                std::os::unix::fs::symlink(&outside, upper.join("d")).unwrap();
            }
            seen.push((change.path, node.id()));
            Ok(())
        })
        .unwrap();
        assert!(!seen.iter().any(|(path, _)| path == Path::new("d/z")), "{seen:?}");
    }

    #[test]
    fn a_missing_directory_is_named() {
        assert!(diff(Path::new("/no/such/upper")).unwrap_err().to_string().contains("/no/such/upper"));
    }
}
