//! Named volumes: directories of the data root that outlive the containers that use them.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::layer::{self, Node};
use runtime::bounded;
use runtime::error::{Doing, Error, Result};
use runtime::rights;

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name; 64 hexadecimal digits if nobody gave it one.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// Made for one container, and removed with it by `--rm` and `rm -v`.
    pub anonymous: bool,
    /// Where its files are.
    pub path: PathBuf,
    /// Free-form data.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// The volumes of a data root.
#[derive(Debug, Clone)]
pub struct Volumes {
    dir: PathBuf,
}

impl Volumes {
    /// Opens them.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(data: &Path) -> Result<Self> {
        let dir = data.join("volumes");
        rights::private_dir(&dir).doing(|| format!("making {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let entries = fs::read_dir(&self.dir).doing(|| format!("reading {}", self.dir.display()))?;
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names.iter().filter(|name| !name.starts_with('.')).map(|name| self.find(name)).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn find(&self, name: &str) -> Result<Volume> {
        check_name(name)?;
        let note = self.dir.join(name).join("volume.json");
        let text = bounded::read_if_there(&note, bounded::LARGEST_DOCUMENT)?.ok_or_else(|| {
            Error::new(format!("there is no volume '{name}'")).remedy("`plim volume ls` lists them")
        })?;
        serde_json::from_slice(&text).map_err(|error| Error::new(format!("{}: {error}", note.display())))
    }

    /// The volume of a name, made if there is none yet.
    ///
    /// # Errors
    /// It is no name, or the directory cannot be made.
    pub fn ensure(&self, name: &str, anonymous: bool) -> Result<Volume> {
        self.ensure_with(name, anonymous, BTreeMap::new())
    }

    /// The same; one that is made gets labels.
    ///
    /// # Errors
    /// Likewise.
    pub fn ensure_with(
        &self,
        name: &str,
        anonymous: bool,
        labels: BTreeMap<String, String>,
    ) -> Result<Volume> {
        check_name(name)?;
        if let Ok(volume) = self.find(name) {
            return Ok(volume);
        }
        let dir = self.dir.join(name);
        let path = dir.join("_data");
        let doing = || format!("making volume {name}");
        let volume =
            Volume { name: name.to_owned(), created: crate::containers::now(), anonymous, path, labels };
        let text = serde_json::to_vec(&volume).map_err(|error| Error::new(error.to_string()))?;
        // Made aside and renamed as a whole: a volume is there with all that belongs to it, or not at all.
        let temporary = self.dir.join(format!(".{name}-{}", std::process::id()));
        rights::private_dir(&temporary).doing(doing)?;
        // Its owner and mode are what containers see, and they change them.
        fs::create_dir_all(temporary.join("_data")).doing(doing)?;
        rights::write_private(&temporary.join("volume.json"), &text).doing(doing)?;
        match fs::rename(&temporary, &dir) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTEMPTY) => {
                let _ = fs::remove_dir_all(&temporary);
            }
            renamed => renamed.doing(doing)?,
        }
        self.find(name)
    }

    /// Removes one that nobody uses. `users` are the names of the containers that do.
    ///
    /// # Errors
    /// It is in use or not there.
    pub fn remove(&self, name: &str, users: &[String]) -> Result<()> {
        self.find(name)?;
        if let Some(user) = users.first() {
            return Err(Error::new(format!("volume '{name}' is used by container {user}"))
                .remedy(format!("`plim rm {user}` removes the container first")));
        }
        let aside = self.dir.join(format!(".{name}-{}-gone", std::process::id()));
        let doing = || format!("removing volume {name}");
        fs::rename(self.dir.join(name), &aside).doing(doing)?;
        fs::remove_dir_all(&aside).doing(doing)
    }
}

impl Volume {
    /// The directory of its files.
    ///
    /// # Errors
    /// It is gone, or something else is in its place.
    pub fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&self.path, flags, Mode::empty()).doing(|| format!("opening volume {}", self.name))
    }

    /// At its first use an empty volume gets what the image has at the place where it is mounted. Says whether it did.
    ///
    /// # Errors
    /// A file cannot be copied.
    pub fn copy_up(&self, from: &Node) -> Result<bool> {
        let dir = self.open()?;
        let doing = || format!("reading volume {}", self.name);
        for entry in Dir::read_from(&dir).doing(doing)? {
            if !matches!(entry.doing(doing)?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        layer::copy_tree(from, &dir).map(|()| true)
    }
}

fn check_name(name: &str) -> Result<()> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.len() < 2 || !name.as_bytes()[0].is_ascii_alphanumeric() || !name.bytes().all(is_name) {
        return Err(Error::new(format!("'{name}' cannot name a volume"))
            .remedy("use two or more letters, digits, '_', '.' and '-'; a host path must be absolute"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_lives_until_it_is_removed_and_not_while_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(dir.path()).unwrap();
        let volume = volumes.ensure("data", false).unwrap();
        assert_eq!(volume.path, dir.path().join("volumes/data/_data"));
        fs::write(volume.path.join("file"), "kept").unwrap();
        assert_eq!(volumes.ensure("data", false).unwrap(), volume);
        assert!(volumes.remove("data", &["user".into()]).unwrap_err().to_string().contains("container user"));
        volumes.remove("data", &[]).unwrap();
        assert!(volumes.find("data").unwrap_err().to_string().contains("no volume"));
        assert_eq!(volumes.list().unwrap(), []);
    }

    #[test]
    fn only_an_empty_volume_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(dir.path()).unwrap();
        let image = dir.path().join("image");
        fs::create_dir(&image).unwrap();
        fs::write(image.join("file"), "from the image").unwrap();
        let volume = volumes.ensure("data", false).unwrap();
        assert!(volume.copy_up(&Node::open(&image).unwrap()).unwrap());
        fs::write(image.join("file"), "newer").unwrap();
        assert!(!volume.copy_up(&Node::open(&image).unwrap()).unwrap());
        assert_eq!(fs::read_to_string(volume.path.join("file")).unwrap(), "from the image");
    }

    #[test]
    fn names_are_no_paths() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(dir.path()).unwrap();
        for wrong in ["", "a", "..", "a/b", ".hidden", "../x"] {
            assert!(volumes.ensure(wrong, false).is_err(), "{wrong}");
        }
    }
}
