//! What a guest boots from: this program, the kernel modules that checks need, and the configuration. No distribution.

use crate::error::Error;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// What a guest is to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GuestConfiguration {
    /// Which hierarchies to mount: `v1`, `v2` or `hybrid`.
    pub layout: String,
    /// Arguments of this program; empty: come up and go.
    pub arguments: Vec<String>,
    /// Be a probe on the second serial line instead, until the machine is ended.
    #[serde(default)]
    pub probe: bool,
    /// Files of the host that the guest has at the same paths.
    #[serde(default)]
    pub files: Vec<PathBuf>,
}

/// Where the configuration is in the archive.
pub const CONFIGURATION: &str = "guest.json";
/// Where the files of the configuration are in the archive, by their numbers.
pub const FILES: &str = "files";

/// An archive as the kernel unpacks it. Source: Documentation/driver-api/early-userspace/buffer-format.rst.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

/// Kinds of entries, as in `st_mode`.
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

impl Archive {
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<(), Error> {
        self.inode += 1;
        let size =
            u32::try_from(content.len()).map_err(|_| format!("{name} is too large for an initramfs"))?;
        let name_size = u32::try_from(name.len() + 1).map_err(|_| format!("{name}: the name is too long"))?;
        // magic ino mode uid gid nlink mtime filesize dev(2) rdev(2) namesize check
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08x}").as_bytes()));
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Makes the archive of a row.
///
/// # Errors
/// This program or a module cannot be read.
pub fn make(
    kernel: &Kernel,
    modules: &[String],
    configuration: &GuestConfiguration,
) -> Result<Vec<u8>, Error> {
    let program = std::env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
    let program = fs::read(&program).map_err(|error| format!("reading {}: {error}", program.display()))?;
    let mut archive = Archive::default();
    for dir in ["dev", "proc", "sys", "modules", FILES, "new"] {
        archive.add(dir, DIRECTORY, (0, 0), &[])?;
    }
    for (number, path) in configuration.files.iter().enumerate() {
        let content = fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        archive.add(&format!("{FILES}/{number}"), PROGRAM, (0, 0), &content)?;
    }
    // The kernel opens it for the first process, before anything is mounted.
    archive.add("dev/console", CONSOLE, (5, 1), &[])?;
    archive.add("init", PROGRAM, (0, 0), &program)?;
    let text = serde_json::to_vec(configuration).map_err(|error| error.to_string())?;
    archive.add(CONFIGURATION, PROGRAM, (0, 0), &text)?;
    for (number, (name, content)) in kernel.modules(modules)?.into_iter().enumerate() {
        archive.add(&format!("modules/{number:03}-{name}"), PROGRAM, (0, 0), &content)?;
    }
    archive.add("TRAILER!!!", 0, (0, 0), &[])?;
    Ok(archive.bytes)
}

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// What a boot loader loads.
    pub image: PathBuf,
    /// Where its modules lie, in any depth.
    modules: Option<PathBuf>,
}

impl Kernel {
    /// Finds the parts of a kernel below a directory.
    ///
    /// # Errors
    /// There is no image.
    pub fn find(dir: &Path) -> Result<Self, Error> {
        let below = |path: &str| {
            let entries = fs::read_dir(dir.join(path)).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let versions: Vec<PathBuf> = ["lib/modules", "usr/lib/modules"].into_iter().flat_map(below).collect();
        let named = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        };
        // Older packages have it in /boot, newer ones beside the modules.
        let image = below("boot")
            .into_iter()
            .find(named)
            .or_else(|| versions.iter().map(|version| version.join("vmlinuz")).find(|path| path.exists()))
            .ok_or_else(|| format!("{}: there is no vmlinuz in the kernel's packages", dir.display()))?;
        let modules = versions.into_iter().map(|version| version.join("kernel")).find(|dir| dir.is_dir());
        Ok(Self { image, modules })
    }

    /// An image that somebody has, and a directory that its modules lie in or below.
    ///
    /// # Errors
    /// The directory does not exist.
    pub fn own(image: &Path, modules: Option<&Path>) -> Result<Self, Error> {
        if let Some(dir) = modules.filter(|dir| !dir.is_dir()) {
            return Err(format!(
                "--modules {}: it is not a directory (give lib/modules/VERSION)",
                dir.display()
            )
            .into());
        }
        Ok(Self { image: image.to_owned(), modules: modules.map(Path::to_owned) })
    }

    /// The named modules that the kernel has as files, each after those that it needs.
    fn modules(&self, names: &[String]) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut files = Vec::new();
        if let Some(dir) = &self.modules {
            find_modules(dir, &mut files);
        }
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for name in names {
            add_module(name, &files, &mut seen, &mut found)?;
        }
        Ok(found)
    }
}

fn find_modules(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_modules(&path, files);
        } else if module_name(&path).is_some() {
            files.push(path);
        }
    }
}

/// Hyphens in file names are underscores in names of modules.
fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (stem, ending) = name.split_once(".ko")?;
    matches!(ending, "" | ".xz" | ".zst").then(|| stem.replace('-', "_"))
}

fn add_module(
    name: &str,
    files: &[PathBuf],
    seen: &mut BTreeSet<String>,
    found: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), Error> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let Some(path) = files.iter().find(|path| module_name(path).as_deref() == Some(name)) else {
        return Ok(());
    };
    let content = read_module(path)?;
    for needed in dependencies(&content) {
        add_module(&needed, files, seen, found)?;
    }
    found.push((name.to_owned(), content));
    Ok(())
}

fn read_module(path: &Path) -> Result<Vec<u8>, Error> {
    let unpacker = match path.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return Ok(fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()))?),
    };
    let output = Command::new(unpacker)
        .args(["-dcq"])
        .arg(path)
        .output()
        .map_err(|error| format!("{unpacker}: {error} (apt-get install xz-utils zstd)"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("unpacking {}: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim()).into())
}

/// Every module says which others it needs, in its section `.modinfo`.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let list = module[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_of_a_module_are_read_and_none_is_none() {
        assert_eq!(dependencies(b"x\0license=GPL\0depends=a-b,c\0name=d\0"), ["a_b", "c"]);
        assert!(dependencies(b"x\0depends=\0").is_empty());
    }

    #[test]
    fn modules_come_after_those_that_they_need() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = dir.path().join("lib/modules/1/kernel/net");
        fs::create_dir_all(&kernel).unwrap();
        fs::create_dir_all(dir.path().join("boot")).unwrap();
        fs::write(dir.path().join("boot/vmlinuz-1"), "").unwrap();
        fs::write(kernel.join("act-police.ko"), "\0depends=act-base\0").unwrap();
        fs::write(kernel.join("act-base.ko"), "\0depends=\0").unwrap();
        let found =
            Kernel::find(dir.path()).unwrap().modules(&["act_police".into(), "missing".into()]).unwrap();
        let names: Vec<_> = found.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["act_base", "act_police"]);
    }

    #[test]
    fn every_part_of_an_archive_is_aligned() {
        let mut archive = Archive::default();
        archive.add("init", PROGRAM, (0, 0), b"12345").unwrap();
        assert_eq!(archive.bytes.len() % 4, 0);
        assert_eq!(&archive.bytes[..6], b"070701");
        assert_eq!(&archive.bytes[110..115], b"init\0");
    }
}
