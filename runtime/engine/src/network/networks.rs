//! The networks of a data root: their names and what is kept of them on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::image::Digest;
use crate::lock;
use runtime::bounded;
use runtime::error::{Doing, Error, Result};

/// All networks lie in this range, a /16.
pub const RANGE: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 0);
pub(super) const RANGE_PREFIX: u8 = 16;
pub(super) const PREFIX: u8 = 24;
/// The network of containers that name none.
const DEFAULT: &str = "bridge";

/// One network: a /24 and its bridge, which has the first address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Third part of its addresses. While it has no bridge, the one that it will have if nobody on the host uses it then.
    pub number: u8,
    /// RFC 3339.
    pub created: String,
    /// Nothing of it leaves this machine.
    #[serde(default)]
    pub internal: bool,
    /// Free-form data.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its bridge; of the data root alone, so that another root's network of the same name has another one.
    #[serde(skip)]
    pub(super) bridge: String,
}

impl Network {
    /// 64 hexadecimal digits.
    pub fn id(&self) -> String {
        Digest::of(format!("{}:{}", self.bridge, self.created).as_bytes()).hex().to_owned()
    }

    /// The device.
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// What connects its containers: a bridge, this machine's own network, or nothing.
    pub fn driver(&self) -> &str {
        match self.name.as_str() {
            "host" => "host",
            "none" => "null",
            _ => "bridge",
        }
    }

    /// Address of the bridge, which is the containers' way out.
    pub fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The range, as people write it.
    pub fn subnet(&self) -> String {
        format!("{}/{PREFIX}", self.address(0))
    }

    /// Whether its containers know each other by name.
    pub fn has_names(&self) -> bool {
        self.name != DEFAULT
    }

    pub(super) fn address(&self, last: u8) -> Ipv4Addr {
        let [first, second, ..] = RANGE.octets();
        Ipv4Addr::new(first, second, self.number, last)
    }
}

/// The networks of a data root.
#[derive(Debug, Clone)]
pub struct Networks {
    dir: PathBuf,
    /// Device and inode of the directory: no two data roots of a host share them.
    identity: (u64, u64),
}

impl Networks {
    /// Opens them.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(data: &Path) -> Result<Self> {
        let dir = data.join("networks");
        runtime::rights::private_dir(&dir).doing(|| format!("making {}", dir.display()))?;
        let found = fs::metadata(&dir).doing(|| format!("opening {}", dir.display()))?;
        Ok(Self { dir, identity: (found.dev(), found.ino()) })
    }

    /// When the data root was made, as RFC 3339: since then there is the default network.
    fn began(&self) -> String {
        let made = fs::metadata(&self.dir).and_then(|found| found.created());
        made.map(|time| humantime::format_rfc3339_nanos(time).to_string()).unwrap_or_default()
    }

    /// The name of a network's bridge. Device names hold 15 bytes.
    fn bridge_of(&self, name: &str) -> String {
        let (device, inode) = self.identity;
        let digest = Digest::of(format!("{device}:{inode}:{name}").as_bytes());
        format!("plim{}", &digest.short()[..10])
    }

    /// Serialises allocation and release of the data root's addresses and bridges.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub fn lock(&self) -> Result<Flock<File>> {
        lock::wait(&self.dir.join(".lock"), FlockArg::LockExclusive)
    }

    /// All of them, the default one first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn list(&self) -> Result<Vec<Network>> {
        let mut networks = vec![Network {
            name: DEFAULT.into(),
            number: 0,
            created: self.began(),
            internal: false,
            labels: BTreeMap::new(),
            bridge: self.bridge_of(DEFAULT),
        }];
        let entries = fs::read_dir(&self.dir).doing(|| format!("reading {}", self.dir.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = bounded::read(&path, bounded::LARGEST_DOCUMENT)?;
                let mut network: Network = serde_json::from_slice(&text)
                    .map_err(|error| Error::new(format!("{}: {error}", path.display())))?;
                network.bridge = self.bridge_of(&network.name);
                networks.push(network);
            }
        }
        networks.sort_by_key(|network| network.number);
        Ok(networks)
    }

    /// All of them with those that need no bridge: `host` and `none`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn with_builtin(&self) -> Result<Vec<Network>> {
        let mut all = self.list()?;
        for name in ["host", "none"] {
            all.push(Network {
                name: name.into(),
                number: 0,
                created: self.began(),
                internal: false,
                labels: BTreeMap::new(),
                bridge: self.bridge_of(name),
            });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// One of them, by its name or the beginning of its id.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn find(&self, name: &str) -> Result<Network> {
        let mut all = self.list()?;
        let by_name = all.iter().position(|network| network.name == name);
        let by_id = || {
            let mut fits = (0..all.len()).filter(|at| name.len() > 3 && all[*at].id().starts_with(name));
            fits.next().filter(|_| fits.next().is_none())
        };
        by_name.or_else(by_id).map(|at| all.swap_remove(at)).ok_or_else(|| {
            Error::new(format!("there is no network '{name}'")).remedy(format!(
                "`plim network create {name}` makes one; none, host and container:NAME are others"
            ))
        })
    }

    /// Makes one.
    ///
    /// # Errors
    /// The name is taken or not a name, or all 255 are in use.
    pub fn create(&self, name: &str) -> Result<Network> {
        self.create_with(name, false, BTreeMap::new())
    }

    /// The same, perhaps without a way out, and with labels.
    ///
    /// # Errors
    /// Likewise.
    pub fn create_with(
        &self,
        name: &str,
        internal: bool,
        labels: BTreeMap<String, String>,
    ) -> Result<Network> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let reserved = matches!(name, "none" | "host" | "default");
        if name.is_empty() || name.starts_with(['.', '-']) || !name.bytes().all(is_name) || reserved {
            return Err(Error::new(format!("'{name}' cannot name a network"))
                .remedy("use letters, digits, '_', '.' and '-'; none, host and default mean other things"));
        }
        let _lock = self.lock()?;
        let known = self.list()?;
        if known.iter().any(|network| network.name == name) {
            return Err(Error::new(format!("there is a network '{name}' already")));
        }
        let taken: BTreeSet<u8> = known.iter().map(|network| network.number).collect();
        let number = (1..=u8::MAX)
            .find(|number| !taken.contains(number))
            .ok_or_else(|| Error::new("255 networks are in use").remedy("`plim network rm` frees one"))?;
        let network = Network {
            name: name.to_owned(),
            number,
            created: crate::containers::now(),
            internal,
            labels,
            bridge: self.bridge_of(name),
        };
        let text = serde_json::to_vec(&network).map_err(|error| Error::new(error.to_string()))?;
        let path = self.path(name);
        let temporary = path.with_extension("new");
        let doing = || format!("writing {}", path.display());
        runtime::rights::write_private(&temporary, &text).doing(doing)?;
        fs::rename(&temporary, &path).doing(doing)?;
        Ok(network)
    }

    /// Removes one that nobody uses. `users` are the names of the containers that do.
    ///
    /// # Errors
    /// It is in use, or the default one.
    pub fn remove(&self, name: &str, users: &[String]) -> Result<()> {
        let network = self.find(name)?;
        if name == DEFAULT {
            return Err(Error::new("the network 'bridge' is always there"));
        }
        if let Some(user) = users.first() {
            return Err(Error::new(format!("network '{name}' is used by container {user}"))
                .remedy(format!("`plim rm -f {user}` removes it first")));
        }
        let _lock = self.lock()?;
        network.dismantle()?;
        fs::remove_file(self.path(name)).doing(|| format!("removing network {name}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_ranges_of_their_own_and_names_that_are_free() {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::open(dir.path()).unwrap();
        let one = networks.create("one").unwrap();
        let two = networks.create("two").unwrap();
        assert_eq!((one.subnet(), two.gateway()), ("10.213.1.0/24".into(), Ipv4Addr::new(10, 213, 2, 1)));
        assert!(networks.create("one").unwrap_err().to_string().contains("already"));
        for wrong in ["", "host", "a/b", "-x"] {
            assert!(networks.create(wrong).is_err(), "{wrong}");
        }
        assert!(networks.remove("one", &["c".into()]).unwrap_err().to_string().contains("container c"));
        assert_ne!(one.bridge(), two.bridge());
        let other = tempfile::tempdir().unwrap();
        let elsewhere = Networks::open(other.path()).unwrap().create("one").unwrap();
        assert!(one.bridge() != elsewhere.bridge() && one.bridge().len() < 15, "{}", one.bridge());
        assert_eq!(networks.find("one").unwrap().bridge(), one.bridge());
        let names: Vec<_> = networks.list().unwrap().into_iter().map(|network| network.name).collect();
        assert_eq!(names, ["bridge", "one", "two"]);
    }
}
