//! Volumes and other mounts, as `-v`, `--mount` and `--tmpfs` ask for them.

mod long;

use std::path::{Component, Path, PathBuf};

use super::record::{MountKind, MountPoint};
use crate::volume::Volumes;
pub(crate) use long::fields_of;
use runtime::error::{Doing, Error, Result};

/// A mount that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    kind: MountKind,
    source: Option<String>,
    target: PathBuf,
    writable: bool,
    options: Vec<String>,
    no_copy: bool,
    /// `-v` makes a missing directory of the host, `--mount` does not.
    makes_source: bool,
    /// The source is a path inside of this directory.
    within: Option<PathBuf>,
}

/// Propagation types of mount(8).
const PROPAGATION: &[&str] = &["private", "rprivate", "slave", "rslave", "shared", "rshared"];

/// What a tmpfs takes beside `NAME=VALUE`, which the kernel checks. Source: mount(8).
const TMPFS_FLAGS: &[&str] = &[
    "ro",
    "rw",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];
const TMPFS_VALUES: &[&str] = &["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"];

/// Files of /proc that only inform, so that another file may be mounted over them. Source: runc, rootfs_linux.go.
const HARMLESS: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

impl Wanted {
    /// Reads `-v [SOURCE:]TARGET[:OPTIONS]`.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn from_volume(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::new(format!("-v {text}: {why}"))
                .remedy("volumes look like [NAME|/HOST/PATH:]/PATH[:ro|rw|...]")
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, options] => (Some(source), target, options),
            _ => return Err(bad("it has too many colons; use --mount for paths that have them")),
        };
        let kind = if source.is_some_and(|source| source.starts_with('/')) {
            MountKind::Bind
        } else {
            MountKind::Volume
        };
        if source == Some("") {
            return Err(bad("its source is empty"));
        }
        let mut wanted = Self {
            kind,
            source: source.map(str::to_owned),
            target: absolute(target)
                .ok_or_else(|| bad(&format!("invalid path '{target}': expected an absolute path below /")))?,
            writable: true,
            options: Vec::new(),
            no_copy: false,
            makes_source: true,
            within: None,
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => wanted.writable = false,
                "rro" => wanted.recursive_read_only(),
                "rw" => {}
                "nocopy" => wanted.no_copy = true,
                // Labels for SELinux, which this engine does not set.
                "z" | "Z" => {}
                propagation if PROPAGATION.contains(&propagation) => wanted.options.push(option.into()),
                other => return Err(bad(&format!("option '{other}' is unknown"))),
            }
        }
        Ok(wanted)
    }

    /// Reads `--tmpfs TARGET[:OPTIONS]`.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn from_tmpfs(text: &str) -> Result<Self> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = absolute(target).ok_or_else(|| {
            Error::new(format!("--tmpfs {text}: invalid path '{target}': expected an absolute path below /"))
        })?;
        let mut all = vec!["noexec".to_owned(), "nosuid".to_owned(), "nodev".to_owned()];
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let known = match option.split_once('=') {
                Some((name, _)) => TMPFS_VALUES.contains(&name),
                None => TMPFS_FLAGS.contains(&option) || PROPAGATION.contains(&option),
            };
            if !known {
                return Err(Error::new(format!("--tmpfs {text}: option '{option}' is unknown"))
                    .remedy("mount(8) lists those of tmpfs, such as size=64m, mode=1777, exec"));
            }
            // What comes later holds, but mount(2) does not take both of a pair.
            let opposite = option.strip_prefix("no").map_or_else(|| format!("no{option}"), str::to_owned);
            all.retain(|known| *known != opposite && known != option);
            if !matches!(option, "exec" | "suid" | "dev" | "rw") {
                all.push(option.to_owned());
            }
        }
        Ok(Self {
            writable: !all.iter().any(|option| option == "ro"),
            options: all,
            no_copy: true,
            ..Self::bare(MountKind::Tmpfs, None, target)
        })
    }

    fn bare(kind: MountKind, source: Option<String>, target: PathBuf) -> Self {
        Self {
            kind,
            source,
            target,
            writable: true,
            options: Vec::new(),
            no_copy: false,
            makes_source: false,
            within: None,
        }
    }

    /// Memory with the options that a tmpfs has by itself.
    ///
    /// # Errors
    /// The target is no path below the root.
    pub fn tmpfs(target: &str) -> Result<Self> {
        let options = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
        Ok(Self { options, no_copy: true, ..Self::bare(MountKind::Tmpfs, None, target_of(target)?) })
    }

    /// A volume by its name.
    ///
    /// # Errors
    /// The target is no path below the root.
    pub fn volume(name: &str, target: &str) -> Result<Self> {
        Ok(Self::bare(MountKind::Volume, Some(name.to_owned()), target_of(target)?))
    }

    /// A path inside of a directory of the host, read-only. The source is looked up once, when the container starts, and does
    /// not lead out of the directory whatever has become of it by then.
    ///
    /// # Errors
    /// The target is no path below the root.
    pub fn within(dir: &Path, source: &str, target: &str) -> Result<Self> {
        Ok(Self {
            writable: false,
            within: Some(dir.to_owned()),
            ..Self::bare(MountKind::Bind, Some(source.to_owned()), target_of(target)?)
        })
    }

    /// A volume of its own for a path that the image declares as one. The path means itself: nothing in it is an option.
    ///
    /// # Errors
    /// No volume can be there.
    pub fn of_image(target: &str) -> Result<Self> {
        let wanted = Self::bare(
            MountKind::Volume,
            None,
            absolute(&format!("/{target}"))
                .ok_or_else(|| Error::new(format!("the image declares a volume at '{target}', its root")))?,
        );
        wanted.check().map_err(|error| Error::new(format!("the image declares a volume: {error}")))?;
        Ok(wanted)
    }

    /// Refuses places where the kernel speaks to the container, and the container to the kernel: what is written there must
    /// reach no other file, and what is read must come from the kernel.
    fn check(&self) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::new(format!("nothing can be mounted at {}: {why}", self.target.display()))
                .remedy("choose another path in the container"))
        };
        let is_bind = self.kind == MountKind::Bind;
        let at = |path: &str| self.target == Path::new(path);
        if self.target.starts_with("/proc") {
            let allowed = is_bind && (at("/proc") || HARMLESS.iter().any(|path| at(path)));
            return if allowed { Ok(()) } else { refuse("/proc is the kernel's") };
        }
        if self.kind == MountKind::Volume {
            if self.target.starts_with("/sys") {
                return refuse("/sys is the kernel's");
            }
            if at("/dev") || at("/dev/pts") || at("/dev/mqueue") {
                return refuse("a volume would hide the container's devices");
            }
        }
        Ok(())
    }

    /// A file of the host, read-only.
    pub(crate) fn read_only_file(source: &Path, target: &str) -> Self {
        let source = Some(source.to_string_lossy().into_owned());
        Self { writable: false, ..Self::bare(MountKind::Bind, source, target.into()) }
    }

    /// The same, and whether it can be written.
    #[must_use]
    pub(crate) fn writable(self, writable: bool) -> Self {
        Self { writable, ..self }
    }

    /// Memory of a size in bytes.
    #[must_use]
    pub(crate) fn sized(mut self, bytes: Option<u64>) -> Self {
        self.options.extend(bytes.map(|bytes| format!("size={bytes}")));
        self
    }

    /// Where it goes.
    pub fn target(&self) -> &Path {
        &self.target
    }

    fn recursive_read_only(&mut self) {
        self.writable = false;
        self.options.push("rro".to_owned());
    }

    /// Makes what has to be there, and says what is to be mounted.
    ///
    /// # Errors
    /// The source is missing or cannot be made.
    pub fn resolve(self, volumes: &Volumes) -> Result<MountPoint> {
        self.check()?;
        let anonymous = self.kind == MountKind::Volume && self.source.is_none();
        let (name, source) = match self.kind {
            MountKind::Tmpfs => (None, PathBuf::new()),
            MountKind::Volume => {
                let name = self.source.unwrap_or_else(super::new_id);
                let volume = volumes.ensure(&name, anonymous)?;
                (Some(volume.name), volume.path)
            }
            MountKind::Bind => {
                let path = PathBuf::from(self.source.unwrap_or_default());
                if self.within.is_none() && !path.exists() {
                    if !self.makes_source {
                        return Err(Error::new(format!(
                            "the source {} of the mount at {} does not exist",
                            path.display(),
                            self.target.display()
                        ))
                        .remedy("make it first; -v creates a missing directory"));
                    }
                    std::fs::create_dir_all(&path).doing(|| format!("making {}", path.display()))?;
                }
                (None, path)
            }
        };
        Ok(MountPoint {
            kind: self.kind,
            name,
            source,
            destination: self.target,
            writable: self.writable,
            options: self.options,
            anonymous,
            no_copy: self.no_copy,
            within: self.within,
        })
    }
}

fn target_of(text: &str) -> Result<PathBuf> {
    absolute(text).ok_or_else(|| {
        Error::new(format!("invalid mount target '{text}': expected an absolute path below /"))
    })
}

/// An absolute path without detours; the root itself cannot be mounted over.
fn absolute(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let clean = path.is_absolute().then(|| clean(path))?;
    (clean != Path::new("/")).then_some(clean)
}

/// An absolute path without `.` and `..`.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests;
