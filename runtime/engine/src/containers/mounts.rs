//! Volumes and other mounts, as `-v`, `--mount` and `--tmpfs` ask for them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::record::{MountKind, MountPoint};
use crate::volume::Volumes;
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
}

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
                .ok_or_else(|| bad(&format!("'{target}' is no absolute path below /")))?,
            writable: true,
            options: Vec::new(),
            no_copy: false,
            makes_source: true,
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => wanted.writable = false,
                "rro" => wanted.recursive_read_only(),
                "rw" => {}
                "nocopy" => wanted.no_copy = true,
                // Labels for SELinux, which this engine does not set.
                "z" | "Z" => {}
                "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {
                    wanted.options.push(option.into());
                }
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
        let target = absolute(target)
            .ok_or_else(|| Error::new(format!("--tmpfs {text}: '{target}' is no absolute path below /")))?;
        let mut all = vec!["noexec".to_owned(), "nosuid".to_owned(), "nodev".to_owned()];
        for option in options.split(',').filter(|option| !option.is_empty()) {
            // What comes later holds, but mount(2) does not take both of a pair.
            let opposite = option.strip_prefix("no").map_or_else(|| format!("no{option}"), str::to_owned);
            all.retain(|known| *known != opposite && known != option);
            if !matches!(option, "exec" | "suid" | "dev" | "rw") {
                all.push(option.to_owned());
            }
        }
        Ok(Self {
            kind: MountKind::Tmpfs,
            source: None,
            target,
            writable: !all.iter().any(|option| option == "ro"),
            options: all,
            no_copy: true,
            makes_source: false,
        })
    }

    /// Reads `--mount KEY=VALUE,…`.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn from_mount(text: &str) -> Result<Self> {
        let bad = |why: String| Error::new(format!("--mount {text}: {why}"));
        let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
        for field in text.split(',') {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            if fields.insert(key, value).is_some() {
                return Err(bad(format!("'{key}' is given twice")));
            }
        }
        let mut take = |names: &[&'static str]| names.iter().find_map(|name| fields.remove(name));
        let kind = match take(&["type"]) {
            None | Some("volume") => MountKind::Volume,
            Some("bind") => MountKind::Bind,
            Some("tmpfs") => MountKind::Tmpfs,
            Some(other) => {
                return Err(
                    bad(format!("type '{other}' is unknown")).remedy("bind, volume and tmpfs are known")
                );
            }
        };
        let target = take(&["target", "destination", "dst"])
            .ok_or_else(|| bad("it has no target".into()).remedy("add target=/PATH"))?;
        let source = take(&["source", "src"]);
        let flag = |value: Option<&str>| matches!(value, Some("" | "true" | "1"));
        let read_only = flag(take(&["readonly", "ro"]));
        let mut wanted = Self {
            kind,
            source: source.map(str::to_owned),
            target: absolute(target).ok_or_else(|| bad(format!("'{target}' is no absolute path below /")))?,
            writable: !read_only,
            options: Vec::new(),
            no_copy: flag(take(&["volume-nocopy"])),
            makes_source: false,
        };
        if let Some(propagation) = take(&["bind-propagation"]) {
            wanted.options.push(propagation.to_owned());
        }
        // Docker's word for read-only with everything below.
        if read_only && take(&["bind-recursive"]) == Some("readonly") {
            wanted.recursive_read_only();
        }
        if kind == MountKind::Tmpfs {
            wanted.options = vec!["noexec".into(), "nosuid".into(), "nodev".into()];
            if let Some(size) = take(&["tmpfs-size"]) {
                wanted.options.push(format!("size={size}"));
            }
            if let Some(mode) = take(&["tmpfs-mode"]) {
                wanted.options.push(format!("mode={mode}"));
            }
            if source.is_some() {
                return Err(bad("a tmpfs has no source".into()));
            }
        }
        match kind {
            MountKind::Bind if source.is_none() => Err(bad("a bind mount needs source=/HOST/PATH".into())),
            MountKind::Bind if !source.is_some_and(|source| source.starts_with('/')) => {
                Err(bad("the source of a bind mount must be an absolute path of the host".into()))
            }
            _ => match fields.keys().next() {
                Some(key) => Err(bad(format!("'{key}' is unknown"))),
                None => Ok(wanted),
            },
        }
    }

    /// A volume of its own for a path that the image declares as one.
    pub fn anonymous(target: &str) -> Option<Self> {
        Self::from_volume(target).ok()
    }

    /// A file of the host, read-only.
    pub(crate) fn read_only_file(source: &Path, target: &str) -> Self {
        Self {
            kind: MountKind::Bind,
            source: Some(source.to_string_lossy().into_owned()),
            target: target.into(),
            writable: false,
            options: Vec::new(),
            no_copy: false,
            makes_source: false,
        }
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
                if !path.exists() {
                    if !self.makes_source {
                        return Err(Error::new(format!(
                            "the source {} of the mount at {} does not exist",
                            path.display(),
                            self.target.display()
                        ))
                        .remedy("make it first; -v makes a missing directory by itself"));
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
        })
    }
}

/// An absolute path without detours; the root itself cannot be mounted over.
fn absolute(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return None;
    }
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    (clean != Path::new("/")).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_as_docker_reads_them() {
        let bind = Wanted::from_volume("/host:/in/../side:ro").unwrap();
        assert_eq!((bind.kind, bind.writable, bind.target()), (MountKind::Bind, false, Path::new("/side")));
        let named = Wanted::from_volume("data:/x").unwrap();
        assert_eq!((named.kind, named.source.as_deref()), (MountKind::Volume, Some("data")));
        assert_eq!(Wanted::from_volume("/x").unwrap().source, None);
        for wrong in ["", "x", "/", "a:b", ":/x", "a:/b:c:d", "a:/b:what"] {
            assert!(Wanted::from_volume(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mounts_name_what_is_wrong() {
        let tmpfs = Wanted::from_mount("type=tmpfs,target=/t,tmpfs-size=1m").unwrap();
        assert!(tmpfs.options.contains(&"size=1m".to_owned()));
        assert!(!Wanted::from_mount("type=bind,src=/a,dst=/b,readonly").unwrap().writable);
        for (wrong, why) in [
            ("type=bind,target=/x", "needs source"),
            ("type=odd,target=/x", "'odd'"),
            ("source=a", "no target"),
            ("target=/x,color=red", "'color'"),
            ("type=bind,source=a,target=/x", "absolute"),
        ] {
            let error = Wanted::from_mount(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_missing_source_is_made_by_one_and_refused_by_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(dir.path()).unwrap();
        let missing = dir.path().join("missing");
        let mount = Wanted::from_mount(&format!("type=bind,source={},target=/x", missing.display())).unwrap();
        assert!(mount.resolve(&volumes).unwrap_err().to_string().contains("does not exist"));
        Wanted::from_volume(&format!("{}:/x", missing.display())).unwrap().resolve(&volumes).unwrap();
        assert!(missing.is_dir());
    }

    #[test]
    fn options_of_memory_replace_the_default_ones() {
        let wanted = Wanted::from_tmpfs("/t:exec,size=64k").unwrap();
        assert_eq!(wanted.options, ["nosuid", "nodev", "size=64k"]);
    }
}
