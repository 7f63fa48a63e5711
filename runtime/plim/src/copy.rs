//! `plim cp`, `export`

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use super::images::write_out;
use engine::containers::Engine;
use engine::layer::{self, Contents, Limits, Mounts, Node, Style};
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
        let top = engine.rooted(&record)?;
        let node = top.node()?;
        write_out(self.output.as_ref(), |to| layer::write_some(&node, &Style::default(), to))
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
                let record = engine.find(&name)?;
                let mounts = engine.mounted_files(&record);
                let style = Style { mounts: Mounts::These(&mounts), ..Style::default() };
                // A path of this machine is meant as seen from here, not from where the container's layers are mounted.
                let to = match to {
                    End::Here(path) => Some(Here::open(path)?),
                    End::Stream => None,
                    End::Container(..) => {
                        return Err(Error::new("both ends are in containers")
                            .remedy("copy to this machine in between"));
                    }
                };
                let rooted = engine.rooted_with_mounts(&record)?;
                let from = Source::inside(&rooted.root, &path, self.follow_link)?;
                match to {
                    Some(to) => from.copy_to(&to.target(&from)?, &style),
                    None => from.write(&style, &mut std::io::stdout().lock()),
                }
            }
            (from, End::Container(name, path)) => {
                let record = engine.find(&name)?;
                if record.host.read_only {
                    return Err(Error::new(format!(
                        "the root file system of container '{name}' is read-only"
                    )));
                }
                let from = match from {
                    End::Here(path) => Some(Source::here(&path, self.follow_link)?),
                    _ => None,
                };
                let rooted = engine.rooted_with_mounts(&record)?;
                match from {
                    Some(from) => {
                        let style = Style { mounts: Mounts::All, ..Style::default() };
                        from.copy_to(&Target::inside(&rooted.root, &path, &from)?, &style)
                    }
                    None => unpack(&mut std::io::stdin().lock(), &rooted.root.find(&path)?),
                }
            }
            _ => Err(Error::new("neither end is in a container")
                .remedy("plim cp CONTAINER:PATH PATH, or the other way")),
        }
    }
}

/// What is copied, opened: nobody can exchange it under our hands.
struct Source {
    node: Node,
    /// The name that it has where it goes.
    name: OsString,
    /// `PATH/.`: what is in the directory, not the directory.
    contents: bool,
}

impl Source {
    fn inside(root: &Root, path: &Path, follow: bool) -> Result<Self> {
        let found = if follow || is_dir_like(path) { root.find(path) } else { root.find_itself(path) };
        Self::new(found?, path)
    }

    fn here(path: &Path, follow: bool) -> Result<Self> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !follow && !is_dir_like(path));
        let found = rustix::fs::open(path, flags, Mode::empty());
        Self::new(found.doing(|| format!("opening {}", path.display()))?, path)
    }

    fn new(found: OwnedFd, path: &Path) -> Result<Self> {
        let node = Node::from_descriptor(found).doing(|| format!("looking at {}", path.display()))?;
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.ends_with(b"/") && !node.is_dir() {
            return Err(Error::new(format!("{} is not a directory", path.display())));
        }
        let contents = bytes == b"." || bytes.ends_with(b"/.") || path.file_name().is_none();
        Ok(Self { node, name: path.file_name().unwrap_or_default().to_owned(), contents })
    }

    /// As an archive in which it has its own name.
    fn write(&self, style: &Style<'_>, to: &mut impl Write) -> Result<()> {
        let name = Path::new(&self.name);
        if self.node.is_dir() {
            let under = (!self.contents).then_some(name);
            return layer::write_some(&self.node, &Style { under, ..*style }, to);
        }
        layer::write_one(&self.node, name, style, to)
    }

    fn copy_to(&self, target: &Target, style: &Style<'_>) -> Result<()> {
        if self.node.is_dir() {
            return layer::through_pipe(&target.dir, LIVE, |to| layer::write_some(&self.node, style, to));
        }
        layer::through_pipe(&target.dir, LIVE, |to| {
            layer::write_one(&self.node, Path::new(&target.name), style, to)
        })
    }
}

/// What a copy brings into a tree that is in use.
const LIVE: Contents = Contents { devices: true, whiteouts: false, live: true };

/// Whether a path means a directory, so that a link in its last place is followed.
fn is_dir_like(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.ends_with(b"/") || bytes.ends_with(b"/.")
}

fn unpack(from: &mut impl Read, into: &OwnedFd) -> Result<()> {
    layer::extract_at(from, into, LIVE, Limits::of_space_at(&by_descriptor(into))?).map(drop)
}

/// A path of this machine, opened where it is meant: the directory, if it is one, or else the one that it is in.
struct Here {
    dir: OwnedFd,
    name: Option<OsString>,
    shown: PathBuf,
}

impl Here {
    fn open(path: PathBuf) -> Result<Self> {
        let open = |path: &Path| {
            rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        };
        if let Ok(dir) = open(&path) {
            return Ok(Self { dir, name: None, shown: path });
        }
        let name = last_name(&path)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = open(parent).doing(|| format!("opening {}", parent.display()))?;
        Ok(Self { dir, name: Some(name), shown: path })
    }

    fn target(self, from: &Source) -> Result<Target> {
        match self.name {
            None => Target::in_dir(self.dir, from, &self.shown),
            Some(name) => Target::named(self.dir, name, from, &self.shown),
        }
    }
}

/// Where it goes: a directory that is there, and for what is no directory the name that it gets.
struct Target {
    dir: OwnedFd,
    name: OsString,
}

impl Target {
    fn inside(root: &Root, path: &Path, from: &Source) -> Result<Self> {
        match root.find(path) {
            Ok(found) => {
                let found =
                    Node::from_descriptor(found).doing(|| format!("looking at {}", path.display()))?;
                if found.is_dir() {
                    return Self::in_dir(found.into(), from, path);
                }
                if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                    return Err(Error::new(format!(
                        "{} in the container is not a directory",
                        path.display()
                    )));
                }
            }
            Err(error) if error.errno() != Some(libc::ENOENT) => return Err(error),
            Err(_) if path.as_os_str().as_encoded_bytes().ends_with(b"/") && !from.node.is_dir() => {
                return Err(Error::new(format!("there is no directory {} in the container", path.display())));
            }
            Err(_) => {}
        }
        let (parent, name) = followed(root, path)?;
        Self::named(parent, name, from, path)
    }

    /// Into a directory that is there.
    fn in_dir(dir: OwnedFd, from: &Source, shown: &Path) -> Result<Self> {
        if from.contents && from.node.is_dir() {
            return Ok(Self { dir, name: OsString::new() });
        }
        Self::named(dir, from.name.clone(), from, &shown.join(&from.name))
    }

    /// Under a name that is not there, or is that of something of the same type.
    fn named(dir: OwnedFd, name: OsString, from: &Source, shown: &Path) -> Result<Self> {
        if !from.node.is_dir() {
            return Ok(Self { dir, name });
        }
        match mkdirat(&dir, &name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => {}
            made => made.doing(|| format!("making {}", shown.display()))?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&dir, &name, flags, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Error::new(format!(
                "cannot overwrite non-directory '{}' with a directory",
                shown.display()
            ))),
            opened => {
                let dir = opened.doing(|| format!("opening {}", shown.display()))?;
                Ok(Self { dir, name: OsString::new() })
            }
        }
    }
}

/// The directory and the name that a path finally means: a link in its last place leads on, inside of the root.
fn followed(root: &Root, path: &Path) -> Result<(OwnedFd, OsString)> {
    const MOST_LINKS: usize = 40;
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        let name = last_name(&at)?.to_owned();
        let above = at.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("/"));
        let parent = root.find(above)?;
        let there = openat(&parent, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let link = match there {
            Err(Errno::NOENT) => return Ok((parent, name)),
            there => there.and_then(|there| rustix::fs::readlinkat(there, "", Vec::new())),
        };
        match link {
            // It is no link: readlinkat(2) says so for a descriptor.
            Err(Errno::NOENT | Errno::INVAL) => return Ok((parent, name)),
            link => {
                let link = link.doing(|| format!("following {}", at.display()))?;
                at = above.join(OsStr::from_bytes(link.as_bytes()));
            }
        }
    }
    Err(Errno::LOOP).doing(|| format!("following {}", path.display()))
}

fn last_name(path: &Path) -> Result<&OsStr> {
    path.file_name().ok_or_else(|| Error::new(format!("'{}' has no file name", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
            let target = Target::inside(&inside, Path::new(target), &source).unwrap();
            source.copy_to(&target, &Style::default()).unwrap();
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
        let target = Here::open(here.clone()).unwrap().target(&back).unwrap();
        back.copy_to(&target, &Style::default()).unwrap();
        assert_eq!(fs::read_to_string(here).unwrap(), "x");
    }

    #[test]
    fn a_link_where_a_copy_goes_means_its_target_inside_of_the_root_and_is_never_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (host, root) = (dir.path().join("host"), dir.path().join("root"));
        fs::create_dir_all(host.join("s")).unwrap();
        fs::create_dir_all(root.join("d")).unwrap();
        let from = dir.path().join("s");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(host.join("s"), root.join("d/s")).unwrap();
        std::os::unix::fs::symlink("../d/new", root.join("d/link")).unwrap();
        let inside = Root::open(&root).unwrap();
        let copy = |source: &Path, target: &str| -> Result<()> {
            let source = Source::here(source, false)?;
            source.copy_to(&Target::inside(&inside, Path::new(target), &source)?, &Style::default())
        };
        let error = copy(&from, "/d").unwrap_err().to_string();
        assert!(error.contains("cannot overwrite non-directory '/d/s'"), "{error}");
        copy(&from.join("file"), "/d/link").unwrap();
        assert_eq!(fs::read_to_string(root.join("d/new")).unwrap(), "x");
        assert!(copy(&from.join("file"), "/d/s/file").is_err());
        assert_eq!(fs::read_dir(host.join("s")).unwrap().count(), 0);
    }
}

#[cfg(test)]
mod races;
