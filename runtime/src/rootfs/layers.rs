//! Directories of an overlay whose paths are too long to be said.
//!
//! fsconfig(2) takes values of up to 255 bytes, which two layers of an engine's store exceed, while mount(2) takes a page. So long
//! values are said by the descriptors of the directories.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::detached::FileSystem;
use super::resolve::by_descriptor;
use crate::error::{Doing, Remedy, Result};

/// Longest value of fsconfig(2), in bytes. Source: fs/fsopen.c.
const LONGEST: usize = 255;

/// The directories that were opened, until the file system is made.
#[derive(Debug, Default)]
pub(super) struct Layers(Vec<OwnedFd>);

/// One part of `lowerdir`: a layer, or one that holds only data.
#[derive(Debug, PartialEq, Eq)]
enum Lower {
    Layer(PathBuf),
    Data(PathBuf),
}

impl Layers {
    /// Sets an option if it names directories by too long a value; says whether it did.
    ///
    /// # Errors
    /// A directory cannot be opened, or the kernel refuses.
    pub(super) fn set(&mut self, file_system: &FileSystem, name: &str, value: &str) -> Result<bool> {
        if value.len() <= LONGEST {
            return Ok(false);
        }
        match name {
            "upperdir" | "workdir" => {
                let short = self.open(Path::new(&unescape(value)))?;
                file_system.value(name, short)?;
            }
            "lowerdir" => self.lower(file_system, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn lower(&mut self, file_system: &FileSystem, value: &str) -> Result<()> {
        let mut short = Vec::new();
        for part in split(value) {
            short.push(match part {
                Lower::Layer(path) => Lower::Layer(self.open(&path)?),
                Lower::Data(path) => Lower::Data(self.open(&path)?),
            });
        }
        let joined = join(&short);
        if joined.len() <= LONGEST {
            return file_system.value("lowerdir", joined);
        }
        short.iter().try_for_each(|part| {
            let (option, path) = match part {
                Lower::Layer(path) => ("lowerdir+", path),
                Lower::Data(path) => ("datadir+", path),
            };
            file_system.value(option, path).or_advise(|| "so many layers need Linux 6.8")
        })
    }

    fn open(&mut self, path: &Path) -> Result<PathBuf> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty())
            .doing(|| format!("opening the layer {}", path.display()))?;
        let short = by_descriptor(&opened);
        self.0.push(opened);
        Ok(short)
    }
}

/// The directories of `lowerdir`: colons part them, two colons come before those with data only, a backslash takes a colon's meaning.
fn split(value: &str) -> Vec<Lower> {
    let mut parts = vec![String::new()];
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        let last = parts.len() - 1;
        match letter {
            ':' => parts.push(String::new()),
            '\\' => parts[last].extend(letters.next()),
            letter => parts[last].push(letter),
        }
    }
    let mut data = false;
    let mut all = Vec::new();
    for part in parts {
        match part.as_str() {
            "" => data = true,
            path if data => all.push(Lower::Data(path.into())),
            path => all.push(Lower::Layer(path.into())),
        }
    }
    all
}

fn join(parts: &[Lower]) -> String {
    let mut joined = String::new();
    for part in parts {
        let (between, path) = match part {
            Lower::Layer(path) => (":", path),
            Lower::Data(path) => ("::", path),
        };
        if !joined.is_empty() {
            joined.push_str(between);
        }
        joined.push_str(&path.to_string_lossy());
    }
    joined
}

fn unescape(value: &str) -> String {
    let mut letters = value.chars();
    let mut plain = String::new();
    while let Some(letter) = letters.next() {
        if letter == '\\' { plain.extend(letters.next()) } else { plain.push(letter) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_apart() {
        let layer = |path: &str| Lower::Layer(path.into());
        assert_eq!(split("/a:/b"), [layer("/a"), layer("/b")]);
        assert_eq!(split(r"/a\:b\\:/c"), [layer(r"/a:b\"), layer("/c")]);
        assert_eq!(split("/a::/b::/c"), [layer("/a"), Lower::Data("/b".into()), Lower::Data("/c".into())]);
        assert_eq!(join(&split("/a:/b::/c")), "/a:/b::/c");
    }
}
