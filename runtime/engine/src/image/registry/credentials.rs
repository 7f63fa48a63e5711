//! Who somebody is to a registry. The file has Docker's form, and Docker's own is read where ours says nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use output::Output;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use runtime::bounded;
use runtime::error::{Doing, Error, Result};

/// The credentials of more registries than anybody uses.
const LARGEST: u64 = 1 << 20;

/// A file of credentials.
#[derive(Debug, Clone)]
pub struct Credentials {
    path: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Credentials {
    /// The user's own: `$PLIM_AUTH_FILE`, or `auth.json` in the configuration directory.
    pub fn of_user() -> Self {
        let named = std::env::var_os("PLIM_AUTH_FILE").map(PathBuf::from);
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
        let path =
            named.unwrap_or_else(|| config.unwrap_or_else(|| home().join(".config")).join("plim/auth.json"));
        Self { path }
    }

    /// Those in a file.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name and password for a registry.
    ///
    /// # Errors
    /// The file cannot be read or is of another form.
    pub fn find(&self, registry: &str) -> Result<Option<(String, String)>> {
        let docker = std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker/config.json"));
        for path in [Some(self.path.clone()), docker].into_iter().flatten() {
            let content = read(&path)?;
            // Docker's own registry is written with its old address.
            let names = [registry, "https://index.docker.io/v1/"];
            let names = &names[..if registry == super::super::DEFAULT_REGISTRY { 2 } else { 1 }];
            if let Some(auth) = names.iter().find_map(|name| content.auths.get(*name)?.auth.as_ref()) {
                return decode(auth).map(Some).ok_or_else(|| {
                    Error::new(format!("{}: the entry of {registry} cannot be read", path.display()))
                        .remedy(format!("`plim login {registry}` writes it again"))
                });
            }
        }
        Ok(None)
    }

    /// Keeps name and password, readable by the user alone.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, registry: &str, user: &str, password: &str) -> Result<()> {
        let mut content = read(&self.path)?;
        let auth = STANDARD.encode(format!("{user}:{password}"));
        content.auths.insert(registry.to_owned(), Entry { auth: Some(auth), other: Map::new() });
        self.write(&content)
    }

    /// Forgets a registry; says whether it was known.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(&self, registry: &str) -> Result<bool> {
        let mut content = read(&self.path)?;
        let was_known = content.auths.remove(registry).is_some();
        if was_known {
            self.write(&content)?;
        }
        Ok(was_known)
    }

    fn write(&self, content: &Content) -> Result<()> {
        let doing = || format!("writing {}", self.path.display());
        if let Some(dir) = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir).doing(doing)?;
        }
        let text = serde_json::to_string_pretty(content).map_err(|error| Error::new(error.to_string()))?;
        let mut file = Output::open_private(&self.path).doing(doing)?;
        if !file.as_file().metadata().doing(doing)?.is_file() {
            return Err(Error::new(format!("{}: it is no regular file, so it keeps no password", doing()))
                .remedy("PLIM_AUTH_FILE names another file"));
        }
        file.write_all(text.as_bytes()).and_then(|()| file.finish()).doing(doing)
    }
}

fn read(path: &Path) -> Result<Content> {
    match bounded::read_if_there(path, LARGEST)? {
        None => Ok(Content::default()),
        Some(text) if text.is_empty() => Ok(Content::default()),
        Some(text) => {
            serde_json::from_slice(&text).map_err(|error| Error::new(format!("{}: {error}", path.display())))
        }
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    use super::*;

    #[test]
    fn what_is_kept_is_found_by_its_owner_alone_and_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials::at(&dir.path().join("plim/auth.json"));
        credentials.keep("registry.example:5000", "me", "se:cret").unwrap();
        let found = credentials.find("registry.example:5000").unwrap().unwrap();
        assert_eq!(found, ("me".into(), "se:cret".into()));
        assert_eq!(fs::metadata(credentials.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(credentials.forget("registry.example:5000").unwrap());
        assert!(!credentials.forget("registry.example:5000").unwrap());
    }

    #[test]
    fn a_link_stays_a_link_and_what_is_no_file_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("kept"), dir.path().join("auth.json"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("kept", &link).unwrap();
        Credentials::at(&link).keep("x.y", "me", "secret").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Credentials::at(&file).find("x.y").unwrap().is_some());
        let error = Credentials::at(Path::new("/dev/null")).keep("x.y", "me", "secret").unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn a_broken_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        fs::write(&path, "{").unwrap();
        let error = Credentials::at(&path).find("x.y").unwrap_err().to_string();
        assert!(error.contains("auth.json"), "{error}");
    }
}
