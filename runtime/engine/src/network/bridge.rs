//! The bridges of networks: each is made with its first container and removed with its last.
//!
//! Several data roots may share a network namespace. So a bridge's name is of the data root, and who chooses a range looks
//! at all devices of the namespace while it holds the namespace's own lock.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::Ipv4Addr;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, setns, unshare};

use super::networks::{Network, PREFIX, RANGE, RANGE_PREFIX};
use super::way_out;
use runtime::error::{Doing, Error, Result};
use runtime::network::link;

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

/// The hardware address of a device that has an address: as Docker's, so that it is the same at each start.
fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// The hardware address of a container's device, as people write it.
pub fn hardware_address(address: Ipv4Addr) -> String {
    hardware(address).map(|byte| format!("{byte:02x}")).join(":")
}

/// The caller's network namespace.
fn own_namespace() -> Result<File> {
    File::open("/proc/self/ns/net").doing(|| "opening the network namespace")
}

/// Serialises changes of bridges and ranges in the caller's network namespace, whatever data root or /run they are made
/// from: the lock is of the namespace's own file.
fn lock_namespace() -> Result<Flock<File>> {
    let mut file = own_namespace()?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(lock) => return Ok(lock),
            Err((again, Errno::EINTR)) => file = again,
            Err((_, error)) => return Err(error).doing(|| "locking the network namespace"),
        }
    }
}

impl Network {
    /// Makes a network namespace and gives it a place in a network. To be called with the lock held, by a process with a
    /// single thread, which stays in the namespace that it was in.
    ///
    /// # Errors
    /// All addresses are in use, or the kernel lacks something.
    pub fn attach(&self, id: &str, taken: &BTreeSet<Ipv4Addr>, wanted: Option<Ipv4Addr>) -> Result<Attached> {
        let lock = lock_namespace()?;
        let network = self.assemble()?;
        let address = network.free_address(taken, wanted)?;
        let own = own_namespace()?;
        unshare(CloneFlags::CLONE_NEWNET).doing(|| "making a network namespace")?;
        let inside = own_namespace();
        let prepared = inside.and_then(|inside| runtime::namespace::loopback_up().map(|()| inside));
        let back = || setns(&own, CloneFlags::CLONE_NEWNET).doing(|| "returning to the network namespace");
        back()?;
        let namespace = prepared?;
        // Device names hold 15 bytes.
        let device = format!("plv{}", &id[..11.min(id.len())]);
        link::make_pair_into(&device, "eth0", hardware(address), &namespace)?;
        let attached = Attached { namespace, address, device };
        let wired =
            link::plug(&attached.device, network.bridge()).and_then(|()| link::set_up(&attached.device));
        drop(lock);
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

    fn free_address(&self, taken: &BTreeSet<Ipv4Addr>, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr> {
        let mut all = (2..255).map(|last| self.address(last));
        let Some(wanted) = wanted else {
            return all
                .find(|address| !taken.contains(address))
                .ok_or_else(|| Error::new(format!("all addresses of network '{}' are in use", self.name)));
        };
        if !all.any(|address| address == wanted) {
            return Err(Error::new(format!("--ip {wanted}: network '{}' has no such address", self.name))
                .remedy(format!("it has {} to {}", self.address(2), self.address(254))));
        }
        if taken.contains(&wanted) {
            return Err(Error::new(format!("--ip {wanted}: the address is in use")));
        }
        Ok(wanted)
    }

    /// Takes a container's device away, and the bridge if nobody else is on it. To be called with the data root's lock held.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn detach(&self, device: &str, is_last: bool) -> Result<()> {
        link::remove(device)?;
        if is_last { self.dismantle() } else { Ok(()) }
    }

    /// The network with the range that its bridge has now, if it has one.
    ///
    /// # Errors
    /// The kernel does not tell its devices' addresses.
    pub fn current(&self) -> Result<Self> {
        let addresses = link::addresses()?;
        Ok(self.on_bridge(&addresses).unwrap_or_else(|| self.clone()))
    }

    fn on_bridge(&self, addresses: &[(i32, Ipv4Addr)]) -> Option<Self> {
        let index = link::find(&self.bridge)?;
        let (_, address) = addresses.iter().find(|(device, _)| *device == index)?;
        Some(Self { number: address.octets()[2], ..self.clone() })
    }

    /// Makes the bridge if it is not there. To be called with the namespace's lock held.
    fn assemble(&self) -> Result<Self> {
        let addresses = link::addresses()?;
        if let Some(network) = self.on_bridge(&addresses) {
            return Ok(network);
        }
        // One without an address was left by a process that was killed.
        link::remove(&self.bridge)?;
        let [first, second, ..] = RANGE.octets();
        let taken: BTreeSet<u8> = addresses
            .iter()
            .map(|(_, address)| address.octets())
            .filter(|octets| octets[..2] == [first, second])
            .map(|octets| octets[2])
            .collect();
        let number = std::iter::once(self.number)
            .chain(0..=u8::MAX)
            .find(|number| !taken.contains(number))
            .ok_or_else(|| {
            Error::new(format!("all networks of {RANGE}/{RANGE_PREFIX} are in use on this host"))
                .remedy("stop containers of other networks first")
        })?;
        let network = Self { number, ..self.clone() };
        link::make_bridge(&network.bridge)?;
        let made = link::bring_up(&network.bridge, network.gateway(), PREFIX)
            .and_then(|()| link::forbid(&network.bridge, RANGE, RANGE_PREFIX));
        if let Err(error) = made {
            let _ = link::remove(&network.bridge);
            return Err(error);
        }
        // Without it containers reach each other and this machine, and nothing beyond.
        if !network.internal && way_out::open(&network.bridge, network.address(0)).is_ok() {
            let _ = fs::write("/proc/sys/net/ipv4/ip_forward", "1");
        }
        Ok(network)
    }

    /// Removes the bridge and its rules, if they are there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn dismantle(&self) -> Result<()> {
        let _lock = lock_namespace()?;
        link::allow(&self.bridge, RANGE, RANGE_PREFIX)?;
        // A kernel without a packet filter has no rules to remove.
        let _ = way_out::close(&self.bridge);
        link::remove(&self.bridge)
    }
}
