//! The changes that an overlay's upper directory holds. Only that directory is walked, so the cost grows with the
//! change and not with the image. Mounts below it are no part of it: a volume's contents lie elsewhere.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::overlay::{is_opaque, is_whiteout};
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
/// As of [`visit`].
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
pub fn visit(upper: &Path, visitor: &mut dyn FnMut(Change, &Metadata) -> Result<()>) -> Result<()> {
    // It may be a descriptor's path, which is a link of another file system.
    let device = fs::metadata(upper).doing(|| format!("reading {}", upper.display()))?.dev();
    walk(upper, Path::new(""), device, visitor)
}

fn walk(
    upper: &Path,
    below: &Path,
    device: u64,
    visitor: &mut dyn FnMut(Change, &Metadata) -> Result<()>,
) -> Result<()> {
    let dir = upper.join(below);
    let doing = || format!("reading {}", dir.display());
    let mut names: Vec<_> = fs::read_dir(&dir)
        .doing(doing)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()
        .doing(doing)?;
    names.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    for name in names {
        let path = below.join(name);
        let full = upper.join(&path);
        let metadata = fs::symlink_metadata(&full).doing(|| format!("reading {}", full.display()))?;
        let what = if is_whiteout(&metadata) {
            What::Deleted
        } else if metadata.is_dir() && is_opaque(&full)? {
            What::SetOpaque
        } else {
            What::Set
        };
        let is_below = metadata.is_dir() && metadata.dev() == device;
        visitor(Change { path: path.clone(), what }, &metadata)?;
        // Whatever somebody mounted on the upper directory itself is not what the container wrote.
        if is_below {
            walk(upper, &path, device, visitor)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_missing_directory_is_named() {
        assert!(diff(Path::new("/no/such/upper")).unwrap_err().to_string().contains("/no/such/upper"));
    }
}
