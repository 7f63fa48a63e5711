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

/// Files of /proc that only inform, so that another file may stand in their place. Source: runc, rootfs_linux.go.
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

    /// Reads `--mount KEY=VALUE,…`.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn from_mount(text: &str) -> Result<Self> {
        let bad = |why: String| Error::new(format!("--mount {text}: {why}"));
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for field in fields_of(text).map_err(|why| bad(why.to_owned()))? {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            if fields.insert(key.to_lowercase(), value.to_owned()).is_some() {
                return Err(bad(format!("'{key}' is given twice")));
            }
        }
        let mut take = |names: &[&'static str]| names.iter().find_map(|name| fields.remove(*name));
        let kind = match take(&["type"]).as_deref() {
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
        let flag = |name: &str, value: Option<String>| match value.as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(bad(format!("'{name}={other}' is neither true nor false"))),
        };
        let read_only = flag("readonly", take(&["readonly", "ro"]))?;
        let no_copy = flag("volume-nocopy", take(&["volume-nocopy"]))?;
        let target = absolute(&target)
            .ok_or_else(|| bad(format!("invalid path '{target}': expected an absolute path below /")))?;
        let mut wanted = Self { writable: !read_only, no_copy, ..Self::bare(kind, source.clone(), target) };
        if let Some(propagation) = take(&["bind-propagation"]) {
            if !PROPAGATION.contains(&propagation.as_str()) {
                return Err(bad(format!("invalid propagation '{propagation}'"))
                    .remedy(format!("one of {}", PROPAGATION.join(", "))));
            }
            wanted.options.push(propagation);
        }
        match take(&["bind-recursive"]).as_deref() {
            None | Some("enabled" | "writable") => {}
            // Docker's word for read-only with everything below.
            Some("readonly") if read_only => wanted.recursive_read_only(),
            Some(other) => return Err(bad(format!("'bind-recursive={other}' is not supported"))),
        }
        if kind == MountKind::Tmpfs {
            wanted.options = vec!["noexec".into(), "nosuid".into(), "nodev".into()];
            for (key, option) in [("tmpfs-size", "size"), ("tmpfs-mode", "mode")] {
                if let Some(value) = take(&[key]) {
                    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                        return Err(bad(format!("'{key}={value}' is no number")));
                    }
                    wanted.options.push(format!("{option}={value}"));
                }
            }
            if source.is_some() {
                return Err(bad("a tmpfs has no source".into()));
            }
        }
        match kind {
            MountKind::Bind if source.is_none() => Err(bad("a bind mount needs source=/HOST/PATH".into())),
            MountKind::Bind if !source.as_ref().is_some_and(|source| source.starts_with('/')) => {
                Err(bad("the source of a bind mount must be an absolute path of the host".into()))
            }
            _ => match fields.keys().next() {
                Some(key) => Err(bad(format!("'{key}' is unknown"))),
                None => Ok(wanted),
            },
        }
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
            within: self.within,
        })
    }
}

/// The fields of a line of comma-separated values: those that hold commas stand in quotation marks, which are doubled within.
/// Source: RFC 4180, as Docker's --mount.
pub(crate) fn fields_of(text: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut ended) = (false, false);
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        let field = fields.last_mut().ok_or("it has no fields")?;
        match next {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => (quoted, ended) = (false, true),
            '"' if field.is_empty() && !ended => quoted = true,
            ',' if !quoted => {
                ended = false;
                fields.push(String::new());
            }
            _ if ended => return Err("something follows a closing quotation mark"),
            other => field.push(other),
        }
    }
    if quoted { Err("a quotation mark is not closed") } else { Ok(fields) }
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
    fn what_an_image_declares_is_a_path_and_no_option() {
        let volume = Wanted::of_image("/:/host").unwrap();
        assert_eq!((volume.kind, volume.source.as_deref()), (MountKind::Volume, None));
        assert_eq!(volume.target(), Path::new("/:/host"));
        assert_eq!(Wanted::of_image("data").unwrap().target(), Path::new("/data"));
        for wrong in ["/", "/proc", "/proc/sys/net/ipv4", "//proc/1/../sys", "/sys/fs", "/dev", "/dev/pts/"] {
            assert!(Wanted::of_image(wrong).is_err(), "{wrong}");
        }
        assert!(Wanted::of_image("/processes").is_ok() && Wanted::of_image("/dev/shm").is_ok());
    }

    #[test]
    fn the_kernel_s_places_are_refused_in_every_spelling() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(dir.path()).unwrap();
        let mut wanted = vec![Wanted::from_tmpfs("/proc/x").unwrap(), Wanted::tmpfs("/proc").unwrap()];
        wanted.extend(
            ["x1:/proc/sys", "/etc:/proc/sys", "x1:/sys", "x1:/dev"]
                .map(|text| Wanted::from_volume(text).unwrap()),
        );
        wanted.push(Wanted::from_mount("type=bind,source=/etc/passwd,target=/proc/sysrq-trigger").unwrap());
        for wanted in wanted {
            let error = wanted.clone().resolve(&volumes).unwrap_err().to_string();
            assert!(error.contains("nothing can be mounted at"), "{wanted:?}: {error}");
        }
        assert_eq!(volumes.list().unwrap(), []);
        for allowed in ["/etc/passwd:/proc/uptime", "/sys/fs/cgroup:/sys/fs/cgroup", "/dev:/dev"] {
            Wanted::from_volume(allowed).unwrap().resolve(&volumes).unwrap();
        }
    }

    #[test]
    fn values_with_commas_stand_in_quotation_marks_and_are_no_further_options() {
        let text = "type=bind,\"source=/a,readonly,b\",target=/x";
        let mount = Wanted::from_mount(text).unwrap();
        assert_eq!((mount.source.as_deref(), mount.writable), (Some("/a,readonly,b"), true));
        assert_eq!(fields_of("a,\"b\"\"c\",").unwrap(), ["a", "b\"c", ""]);
        assert!(fields_of("\"a").is_err() && fields_of("\"a\"b").is_err());
        for wrong in
            ["bind-propagation=rw", "tmpfs-size=1m:exec", "bind-recursive=disabled", "readonly=maybe"]
        {
            let kind = if wrong.starts_with("tmpfs") { "type=tmpfs" } else { "type=bind,source=/a" };
            assert!(Wanted::from_mount(&format!("{kind},target=/x,{wrong}")).is_err(), "{wrong}");
        }
        assert!(Wanted::from_tmpfs("/t:size=1m,lowerdir=/etc").unwrap_err().to_string().contains("lowerdir"));
    }

    #[test]
    fn options_of_memory_replace_the_default_ones() {
        let wanted = Wanted::from_tmpfs("/t:exec,size=64k").unwrap();
        assert_eq!(wanted.options, ["nosuid", "nodev", "size=64k"]);
    }
}
