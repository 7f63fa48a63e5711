//! Networks of containers: a bridge for each, made with its first container and removed with its last.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};

use super::link;
use crate::lock;
use runtime::error::{Doing, Error, Result};

/// All networks lie in this range, a /16.
pub const RANGE: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 0);
const RANGE_PREFIX: u8 = 16;
const PREFIX: u8 = 24;
/// The network of containers that name none.
const DEFAULT: &str = "bridge";

/// One network: a /24 and its bridge, which has the first address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Third part of its addresses.
    pub number: u8,
    /// RFC 3339.
    pub created: String,
}

impl Network {
    /// The device.
    pub fn bridge(&self) -> String {
        format!("plim{}", self.number)
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

    fn address(&self, last: u8) -> Ipv4Addr {
        let [first, second, ..] = RANGE.octets();
        Ipv4Addr::new(first, second, self.number, last)
    }
}

/// A container's place in a network; leaves it when told to.
#[derive(Debug)]
pub struct Attached {
    /// The network namespace, with its device and its way out.
    pub namespace: File,
    /// The address in it.
    pub address: Ipv4Addr,
    /// The host's end.
    pub device: String,
}

/// The networks of a data root.
#[derive(Debug, Clone)]
pub struct Networks {
    dir: PathBuf,
}

impl Networks {
    /// Opens them.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(data: &Path) -> Result<Self> {
        let dir = data.join("networks");
        fs::create_dir_all(&dir).doing(|| format!("making {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Whoever gives out or takes back addresses and bridges does it alone.
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
        let mut networks = vec![Network { name: DEFAULT.into(), number: 0, created: String::new() }];
        let entries = fs::read_dir(&self.dir).doing(|| format!("reading {}", self.dir.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read(&path).doing(|| format!("reading {}", path.display()))?;
                let network = serde_json::from_slice(&text)
                    .map_err(|error| Error::new(format!("{}: {error}", path.display())))?;
                networks.push(network);
            }
        }
        networks.sort_by_key(|network| network.number);
        Ok(networks)
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn find(&self, name: &str) -> Result<Network> {
        self.list()?.into_iter().find(|network| network.name == name).ok_or_else(|| {
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
        let network = Network { name: name.to_owned(), number, created: crate::containers::now() };
        let text = serde_json::to_vec(&network).map_err(|error| Error::new(error.to_string()))?;
        let path = self.path(name);
        let temporary = path.with_extension("new");
        let doing = || format!("writing {}", path.display());
        fs::write(&temporary, text).doing(doing)?;
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
        self.dismantle(&network)?;
        fs::remove_file(self.path(name)).doing(|| format!("removing network {name}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    /// Makes a network namespace and gives it a place in a network. To be called with the lock held, by a process with a
    /// single thread, which stays in the namespace that it was in.
    ///
    /// # Errors
    /// All addresses are in use, or the kernel lacks something.
    pub fn attach(&self, network: &Network, id: &str, taken: &BTreeSet<Ipv4Addr>) -> Result<Attached> {
        let address = (2..255)
            .map(|last| network.address(last))
            .find(|address| !taken.contains(address))
            .ok_or_else(|| Error::new(format!("all addresses of network '{}' are in use", network.name)))?;
        self.assemble(network)?;
        let own = File::open("/proc/self/ns/net").doing(|| "opening the network namespace")?;
        unshare(CloneFlags::CLONE_NEWNET).doing(|| "making a network namespace")?;
        let inside = File::open("/proc/self/ns/net").doing(|| "opening the new network namespace");
        let prepared = inside.and_then(|inside| runtime::namespace::loopback_up().map(|()| inside));
        let back = || setns(&own, CloneFlags::CLONE_NEWNET).doing(|| "returning to the network namespace");
        back()?;
        let namespace = prepared?;
        // Device names hold 15 bytes.
        let device = format!("plv{}", &id[..11.min(id.len())]);
        link::make_pair_into(&device, "eth0", &namespace)?;
        let attached = Attached { namespace, address, device };
        let wired =
            link::plug(&attached.device, &network.bridge()).and_then(|()| link::set_up(&attached.device));
        let inside = wired.and_then(|()| {
            setns(&attached.namespace, CloneFlags::CLONE_NEWNET)
                .doing(|| "entering the network namespace")?;
            let configured =
                link::bring_up("eth0", address, PREFIX).and_then(|()| link::default_route(network.gateway()));
            back()?;
            configured
        });
        if let Err(error) = inside {
            let _ = link::remove(&attached.device);
            return Err(error);
        }
        Ok(attached)
    }

    /// Takes a container's device away, and the bridge if nobody else is on it. To be called with the lock held.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn detach(&self, network: &Network, device: &str, is_last: bool) -> Result<()> {
        link::remove(device)?;
        if is_last { self.dismantle(network) } else { Ok(()) }
    }

    fn assemble(&self, network: &Network) -> Result<()> {
        let bridge = network.bridge();
        if Path::new("/sys/class/net").join(&bridge).exists()
            || nix::net::if_::if_nametoindex(bridge.as_str()).is_ok()
        {
            return Ok(());
        }
        link::make_bridge(&bridge)?;
        let made = link::bring_up(&bridge, network.gateway(), PREFIX)
            .and_then(|()| link::forbid(&bridge, RANGE, RANGE_PREFIX));
        if let Err(error) = made {
            let _ = link::remove(&bridge);
            return Err(error);
        }
        // Without it containers reach each other and this machine, and nothing beyond.
        way_out(network);
        Ok(())
    }

    fn dismantle(&self, network: &Network) -> Result<()> {
        let bridge = network.bridge();
        link::allow(&bridge, RANGE, RANGE_PREFIX)?;
        let _ = nft(&format!("delete table ip {bridge}\n"));
        link::remove(&bridge)
    }
}

/// Lets containers reach what lies beyond this machine, under its address. Needs nft(8).
fn way_out(network: &Network) {
    let (bridge, subnet) = (network.bridge(), network.subnet());
    let rules = format!(
        "table ip {bridge} {{ chain way_out {{ type nat hook postrouting priority srcnat; \
         ip saddr {subnet} oifname != \"{bridge}\" masquerade }} }}\n"
    );
    if nft(&rules) {
        let _ = fs::write("/proc/sys/net/ipv4/ip_forward", "1");
    }
}

fn nft(rules: &str) -> bool {
    let child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let written = child.stdin.take().is_some_and(|mut stdin| stdin.write_all(rules.as_bytes()).is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
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
        let names: Vec<_> = networks.list().unwrap().into_iter().map(|network| network.name).collect();
        assert_eq!(names, ["bridge", "one", "two"]);
    }
}
