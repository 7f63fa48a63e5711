//! The files that a build may copy: a directory, seen from inside, without what `.dockerignore` leaves out.

use std::path::{Path, PathBuf};

use super::patterns::{Ignore, Pattern, is_pattern};
use crate::layer::Node;
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::resolve::{Root, read_bounded};

/// Bytes that a Dockerfile or an ignore file may have.
pub const LARGEST_TEXT: u64 = 4 << 20;

/// A build's context.
#[derive(Debug)]
pub struct Context {
    dir: PathBuf,
    ignore: Ignore,
}

impl Context {
    /// A directory of this machine. `dockerfile` may have an ignore file of its own beside it.
    ///
    /// # Errors
    /// It is no directory, or its ignore file cannot be read.
    pub fn open(dir: &Path, dockerfile: Option<&Path>) -> Result<Self> {
        let dir = dir.canonicalize().doing(|| format!("opening the context {}", dir.display()))?;
        if !dir.is_dir() {
            return Err(Error::new(format!("the context {} is not a directory", dir.display())));
        }
        let own = dockerfile.map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.with_file_name(format!("{name}.dockerignore"))
        });
        // The one beside the Dockerfile is the user's, the other the context's, whose links lead nowhere else.
        let (file, text) = match own.filter(|path| path.exists()) {
            Some(path) => {
                let text = Node::open(&path).and_then(|node| {
                    let file = node.content().doing(|| "opening it")?;
                    read_bounded(file, LARGEST_TEXT)
                });
                (path, text)
            }
            None => {
                let file = dir.join(".dockerignore");
                let root = Root::open(&dir)?;
                if root.find_itself(Path::new(".dockerignore")).is_err() {
                    return Ok(Self { dir, ignore: Ignore::default() });
                }
                (file, root.read_bounded(Path::new(".dockerignore"), LARGEST_TEXT))
            }
        };
        let wrong = |error: Error| Error::new(format!("{}: {error}", file.display()));
        let text = String::from_utf8(text.map_err(wrong)?)
            .map_err(|_| Error::new(format!("{}: it is not UTF-8 text", file.display())))?;
        let ignore = Ignore::parse(&text).map_err(wrong)?;
        Ok(Self { dir, ignore })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn ignore(&self) -> &Ignore {
        &self.ignore
    }
}

/// A tree from which files are copied: the context, or an image.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Root,
    pub(super) ignore: Ignore,
    /// What it is called in errors.
    pub(super) shown: String,
}

impl Tree {
    /// The paths that a source means, relative to the root and without detours.
    pub(super) fn find(&self, source: &str) -> Result<Vec<PathBuf>> {
        let mut clean: Vec<&str> = Vec::new();
        for part in source.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if clean.pop().is_none() {
                        return Err(Error::new(format!("'{source}' lies outside of {}", self.shown)).remedy(
                            "only what is in it can be copied: choose a directory further up as context",
                        ));
                    }
                }
                part => clean.push(part),
            }
        }
        let path = clean.join("/");
        if !is_pattern(&path) {
            let found = PathBuf::from(&path);
            let is_there = self.root.find(&Path::new("/").join(&found)).is_ok();
            if is_there && self.keeps(&found) {
                return Ok(vec![found]);
            }
            let error = Error::new(format!("'{source}' is not in {}", self.shown));
            return Err(if is_there { error.remedy(".dockerignore leaves it out") } else { error });
        }
        let pattern = Pattern::new(&path)?;
        let mut found = Vec::new();
        self.walk(Path::new(""), clean.len(), &pattern, &mut found)?;
        if found.is_empty() {
            return Err(Error::new(format!("'{source}' matches nothing in {}", self.shown)));
        }
        found.sort();
        Ok(found)
    }

    /// Whether a path is copied: no rule leaves it out, or it is a directory that holds something which a rule takes back.
    pub(super) fn keeps(&self, path: &Path) -> bool {
        if !self.ignore.leaves_out(path) {
            return true;
        }
        let is_dir = |path: &Path| {
            let found = self.root.find(&Path::new("/").join(path)).ok()?;
            let kind = rustix::fs::fstat(&found).ok()?;
            (rustix::fs::FileType::from_raw_mode(kind.st_mode) == rustix::fs::FileType::Directory)
                .then_some(())
        };
        self.ignore.takes_back()
            && is_dir(path).is_some()
            && self.names(path).is_ok_and(|names| names.iter().any(|name| self.keeps(&path.join(name))))
    }

    fn names(&self, below: &Path) -> Result<Vec<std::ffi::OsString>> {
        let opened = self.root.find(&Path::new("/").join(below))?;
        let dir = runtime::rootfs::resolve::by_descriptor(&opened);
        let doing = || format!("reading {}", below.display());
        let entries = std::fs::read_dir(&dir).doing(doing)?;
        entries.map(|entry| entry.map(|entry| entry.file_name()).doing(doing)).collect()
    }

    fn walk(&self, below: &Path, depth: usize, pattern: &Pattern, found: &mut Vec<PathBuf>) -> Result<()> {
        for name in self.names(below)? {
            let path = below.join(name);
            if !self.keeps(&path) {
                continue;
            }
            if pattern.matches(&path.to_string_lossy()) {
                found.push(path);
            } else if path.components().count() < depth && self.is_real_directory(&path) {
                self.walk(&path, depth, pattern, found)?;
            }
        }
        Ok(())
    }

    /// A directory, and no link to one: a link may lead to a directory above it.
    fn is_real_directory(&self, path: &Path) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
        let Ok(parent) = self.root.find(&Path::new("/").join(parent)) else { return false };
        rustix::fs::statat(&parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(dir: &Path) -> Tree {
        let context = Context::open(dir, None).unwrap();
        Tree { root: Root::open(dir).unwrap(), ignore: context.ignore().clone(), shown: "the context".into() }
    }

    #[test]
    fn sources_are_found_inside_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("context");
        std::fs::create_dir_all(context.join("sub")).unwrap();
        for file in ["a.txt", "b.txt", "c.md", "sub/d.txt"] {
            std::fs::write(context.join(file), "").unwrap();
        }
        std::fs::write(dir.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("../secret", context.join("out")).unwrap();
        std::fs::write(context.join(".dockerignore"), "b.txt\n").unwrap();
        let tree = tree(&context);
        assert_eq!(tree.find("*.txt").unwrap(), [PathBuf::from("a.txt")]);
        assert_eq!(tree.find("./sub/../a.txt").unwrap(), [PathBuf::from("a.txt")]);
        assert_eq!(tree.find("*/*.txt").unwrap(), [PathBuf::from("sub/d.txt")]);
        assert!(tree.find("../secret").unwrap_err().to_string().contains("outside"));
        assert!(tree.find("out").unwrap_err().to_string().contains("not in the context"));
        assert!(tree.find("b.txt").unwrap_err().to_string().contains(".dockerignore"));
        assert!(tree.find("*.zip").unwrap_err().to_string().contains("matches nothing"));
    }

    #[test]
    fn a_directory_that_holds_what_is_taken_back_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("src/deep")).unwrap();
        std::fs::create_dir_all(dir.path().join("other")).unwrap();
        for file in ["src/main", "src/rest", "src/deep/x", "other/y"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        std::fs::write(dir.path().join(".dockerignore"), "*\n!src/main\n").unwrap();
        let tree = tree(dir.path());
        assert_eq!(tree.find("src").unwrap(), [PathBuf::from("src")]);
        assert_eq!(tree.find("s*").unwrap(), [PathBuf::from("src")]);
        let kept = |path: &str| tree.keeps(Path::new(path));
        assert!(kept("src/main") && !kept("src/rest") && !kept("src/deep") && !kept("other"));
        assert!(tree.find("other").unwrap_err().to_string().contains(".dockerignore"));
    }
}
