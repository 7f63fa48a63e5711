//! `plim cp`, `export`

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;

use super::images::write_out;
use engine::containers::Engine;
use engine::layer::{self, Contents, Limits, Style};
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::resolve::{Root, by_descriptor};

#[derive(Debug, Args)]
pub(super) struct Export {
    /// File instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name or id
    container: String,
}

impl Export {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let record = engine.find(&self.container)?;
        let rooted = engine.rooted(&record)?;
        write_out(self.output.as_ref(), |to| layer::write_tree(&rooted.path, to))
    }
}

#[derive(Debug, Args)]
pub(super) struct Cp {
    /// Copy what a symbolic link leads to
    #[arg(long, short = 'L')]
    follow_link: bool,
    /// CONTAINER:PATH, or a path of this machine, or - for an archive on standard input
    source: String,
    /// CONTAINER:PATH, or a path of this machine, or - for an archive on standard output
    destination: String,
}

/// One end of a copy.
enum End {
    Container(String, PathBuf),
    Here(PathBuf),
    Stream,
}

fn end(text: &str) -> End {
    if text == "-" {
        return End::Stream;
    }
    match text.split_once(':') {
        // A path may hold a colon too, but then it begins with a dot or a slash.
        Some((name, path)) if !text.starts_with(['/', '.']) => {
            End::Container(name.to_owned(), PathBuf::from(path))
        }
        _ => End::Here(PathBuf::from(text)),
    }
}

impl Cp {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        match (end(&self.source), end(&self.destination)) {
            (End::Container(name, path), to) => {
                let rooted = engine.rooted(&engine.find(&name)?)?;
                let root = Root::open(&rooted.path)?;
                let from = Source::inside(&root, &path, self.follow_link)?;
                match to {
                    End::Here(to) => from.copy_to(&Target::here(&to, &from)?),
                    End::Stream => from.write(&mut std::io::stdout().lock()),
                    End::Container(..) => {
                        Err(Error::new("both ends are in containers")
                            .remedy("copy to this machine in between"))
                    }
                }
            }
            (from, End::Container(name, path)) => {
                let record = engine.find(&name)?;
                if record.host.read_only {
                    return Err(Error::new(format!(
                        "the root file system of container '{name}' is read-only"
                    )));
                }
                // A path of this machine is meant as seen from here, not from where the container's layers are mounted.
                let from = match from {
                    End::Here(path) => Some(Source::here(&path, self.follow_link)?),
                    _ => None,
                };
                let rooted = engine.rooted(&record)?;
                let root = Root::open(&rooted.path)?;
                match from {
                    Some(from) => from.copy_to(&Target::inside(&root, &path, &from)?),
                    None => {
                        let dir = root.find(&path)?;
                        unpack(&mut std::io::stdin().lock(), &by_descriptor(&dir))
                    }
                }
            }
            _ => Err(Error::new("neither end is in a container")
                .remedy("plim cp CONTAINER:PATH PATH, or the other way")),
        }
    }
}

/// What is copied: a file or a directory, by descriptor, so that nobody can exchange it under our hands.
struct Source {
    dir: File,
    name: PathBuf,
    is_dir: bool,
    /// `PATH/.`: what is in the directory, not the directory.
    contents: bool,
}

impl Source {
    fn inside(root: &Root, path: &Path, follow: bool) -> Result<Self> {
        let contents = path.as_os_str().as_encoded_bytes().ends_with(b"/.");
        let (parent, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !follow => (parent.to_owned(), PathBuf::from(name)),
            _ => (path.to_owned(), PathBuf::new()),
        };
        let parent = if parent.as_os_str().is_empty() { PathBuf::from("/") } else { parent };
        let opened = root.find(&parent)?;
        let place = by_descriptor(&opened);
        if name.as_os_str().is_empty() {
            let metadata = fs::metadata(&place).doing(|| format!("looking at {}", path.display()))?;
            let dir = File::from(opened);
            let shown = path.file_name().map(PathBuf::from).unwrap_or_default();
            return Ok(Self { dir, name: shown, is_dir: metadata.is_dir(), contents: metadata.is_dir() });
        }
        let metadata =
            fs::symlink_metadata(place.join(&name)).doing(|| format!("looking at {}", path.display()))?;
        Ok(Self { dir: File::from(opened), name, is_dir: metadata.is_dir(), contents })
    }

    fn here(path: &Path, follow: bool) -> Result<Self> {
        let contents = path.as_os_str().as_encoded_bytes().ends_with(b"/.");
        let real = if follow {
            path.canonicalize().doing(|| format!("opening {}", path.display()))?
        } else {
            path.to_owned()
        };
        let metadata = fs::symlink_metadata(&real).doing(|| format!("opening {}", path.display()))?;
        let name = real.file_name().map(PathBuf::from);
        let (parent, name) = match name {
            Some(name) => (real.parent().map(Path::to_owned).unwrap_or_default(), name),
            None => (real.clone(), PathBuf::new()),
        };
        let parent = if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent };
        let dir = File::open(&parent).doing(|| format!("opening {}", parent.display()))?;
        Ok(Self { dir, contents: contents || name.as_os_str().is_empty(), name, is_dir: metadata.is_dir() })
    }

    fn path(&self) -> PathBuf {
        by_descriptor(&self.dir.as_fd()).join(&self.name)
    }

    /// As an archive in which it has its own name.
    fn write(&self, to: &mut impl Write) -> Result<()> {
        if self.is_dir {
            return layer::write_tree(&self.path(), to);
        }
        layer::write_one(&self.path(), &self.name, &Style::default(), to)
    }

    fn copy_to(&self, target: &Target) -> Result<()> {
        if self.is_dir {
            return layer::copy_tree(&self.path(), &target.path());
        }
        layer::through_pipe(&target.dir_path(), |to| {
            layer::write_one(&self.path(), &target.name, &Style::default(), to)
        })
    }
}

fn unpack(from: &mut impl Read, into: &Path) -> Result<()> {
    let contents = Contents { devices: true, whiteouts: false };
    layer::extract(from, into, contents, Limits::of_space_at(into)?).map(drop)
}

/// Where it goes: a directory that is there, and a name in it; for the content of a directory the directory alone.
struct Target {
    dir: File,
    name: PathBuf,
}

impl Target {
    fn inside(root: &Root, path: &Path, from: &Source) -> Result<Self> {
        let wants_dir = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if let Ok(found) = root.find(path) {
            let place = by_descriptor(&found);
            if place.is_dir() {
                return Self::in_dir(File::from(found), from, path);
            }
        } else if wants_dir && !from.is_dir {
            return Err(Error::new(format!("there is no directory {} in the container", path.display())));
        }
        let name =
            path.file_name().ok_or_else(|| Error::new(format!("'{}' ends in no name", path.display())))?;
        let parent = root.find(path.parent().unwrap_or(Path::new("/")))?;
        Self::new_in(File::from(parent), Path::new(name), from, path)
    }

    fn here(path: &Path, from: &Source) -> Result<Self> {
        if path.is_dir() {
            let dir = File::open(path).doing(|| format!("opening {}", path.display()))?;
            return Self::in_dir(dir, from, path);
        }
        let name =
            path.file_name().ok_or_else(|| Error::new(format!("'{}' ends in no name", path.display())))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = File::open(parent).doing(|| format!("opening {}", parent.display()))?;
        Self::new_in(dir, Path::new(name), from, path)
    }

    /// Into a directory that is there.
    fn in_dir(dir: File, from: &Source, shown: &Path) -> Result<Self> {
        if from.contents {
            return Ok(Self { dir, name: PathBuf::new() });
        }
        let name = from.name.clone();
        if from.is_dir {
            make_dir(&dir, &name, shown)?;
        }
        Ok(Self { dir, name })
    }

    /// Under a name that is not there, or is a file.
    fn new_in(dir: File, name: &Path, from: &Source, shown: &Path) -> Result<Self> {
        if from.is_dir {
            make_dir(&dir, name, shown)?;
        }
        Ok(Self { dir, name: name.to_owned() })
    }

    fn dir_path(&self) -> PathBuf {
        by_descriptor(&self.dir.as_fd())
    }

    fn path(&self) -> PathBuf {
        self.dir_path().join(&self.name)
    }
}

fn make_dir(dir: &File, name: &Path, shown: &Path) -> Result<()> {
    match rustix::fs::mkdirat(dir, name, rustix::fs::Mode::from_raw_mode(0o755)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        made => made.doing(|| format!("making {}", shown.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        assert!(
            matches!(end("web:/etc"), End::Container(name, path) if name == "web" && path == Path::new("/etc"))
        );
        assert!(matches!(end("./a:b"), End::Here(_)));
        assert!(matches!(end("/a:b"), End::Here(_)));
        assert!(matches!(end("-"), End::Stream));
    }

    #[test]
    fn a_file_and_a_directory_arrive_under_the_names_that_cp_gives() {
        let dir = tempfile::tempdir().unwrap();
        let (from, root) = (dir.path().join("from"), dir.path().join("root"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(from.join("sub/file"), "x").unwrap();
        let inside = Root::open(&root).unwrap();
        let copy = |source: &Path, target: &str| {
            let source = Source::here(source, false).unwrap();
            source.copy_to(&Target::inside(&inside, Path::new(target), &source).unwrap()).unwrap();
        };
        copy(&from.join("sub/file"), "/etc/");
        copy(&from.join("sub/file"), "/etc/other");
        copy(&from.join("sub"), "/etc");
        copy(&from.join("sub"), "/new");
        copy(&from.join("sub/."), "/etc");
        for there in ["etc/file", "etc/other", "etc/sub/file", "new/file"] {
            assert_eq!(fs::read_to_string(root.join(there)).unwrap(), "x", "{there}");
        }
        std::os::unix::fs::symlink("/", root.join("out")).unwrap();
        let back = Source::inside(&inside, Path::new("/out/etc/file"), false).unwrap();
        let here = dir.path().join("back");
        back.copy_to(&Target::here(&here, &back).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(here).unwrap(), "x");
    }
}
