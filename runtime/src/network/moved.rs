//! A device that moves to another network namespace, with what it is known by. Source: rtnetlink(7), runtime-spec config-linux.md
//! "Network Devices".

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::SockProtocol;

use super::netlink::{Message, Netlink, attribute, index};
use crate::error::{Doing, Remedy, Result};

// From linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_DUMP: u16 = 0x300;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
const RT_SCOPE_UNIVERSE: u8 = 0;
/// Bytes of `struct ifaddrmsg` and `struct ifinfomsg`.
const ADDRESS: usize = 8;
const LINK: usize = 16;

/// An address that somebody gave a device for good.
struct Permanent {
    family: u8,
    prefix: u8,
    /// By number, such as IFA_LOCAL.
    attributes: Vec<(u16, Vec<u8>)>,
}

/// Moves a device of the caller's network namespace to another one, gives it the name `new` there, its permanent addresses of global
/// scope, which the kernel takes away on the way, and brings it up.
///
/// The caller must have a single thread: it enters the other namespace for a moment.
///
/// # Errors
/// There is no such device, it cannot leave its namespace, or the name is taken there.
pub fn device(old: &str, new: &str, namespace: impl AsFd) -> Result<()> {
    let here = Netlink::open(SockProtocol::NetlinkRoute)?;
    let number = index(old)?;
    let name = [new.as_bytes(), b"\0"].concat();
    let there = netlink_in(&namespace)?;
    // The kernel would find this only after the move.
    if number_of(&there, &name)?.is_some() {
        return Err(Errno::EEXIST).doing(|| format!("the container has a device {new} already"));
    }
    // The move takes it down, and with that the addresses away.
    let addresses = permanent_addresses(&here, number)?;
    // In one step: a name that is taken here may be free there.
    let message = Message::new(RTM_NEWLINK, 0, &link(number, 0, 0))
        .with(IFLA_IFNAME, &name)
        .with(IFLA_NET_NS_FD, &namespace.as_fd().as_raw_fd().to_ne_bytes());
    here.request(&message).map(drop).doing(|| format!("moving it, as {new}")).or_advise(
        || "EINVAL: this kind of device cannot leave its namespace, as lo; EPERM: it takes CAP_NET_ADMIN",
    )?;
    let number = number_of(&there, &name)?.ok_or(Errno::ENODEV).doing(|| "finding it in the container")?;
    for address in &addresses {
        add(&there, number, address)?;
    }
    let up = u32::try_from(libc::IFF_UP).expect("a low bit");
    there
        .request(&Message::new(RTM_NEWLINK, 0, &link(number, up, up)))
        .map(drop)
        .doing(|| format!("bringing {new} up"))
}

/// `struct ifinfomsg`.
fn link(number: i32, flags: u32, mask: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(number.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(mask.to_ne_bytes());
    bytes
}

/// Sockets belong to the network namespace in which they are opened.
fn netlink_in(namespace: &impl AsFd) -> Result<Netlink> {
    let own = std::fs::File::open("/proc/self/ns/net").doing(|| "opening the runtime's network namespace")?;
    setns(namespace, CloneFlags::CLONE_NEWNET).doing(|| "entering the container's network namespace")?;
    let opened = Netlink::open(SockProtocol::NetlinkRoute);
    setns(&own, CloneFlags::CLONE_NEWNET).doing(|| "going back to the runtime's network namespace")?;
    opened
}

fn number_of(netlink: &Netlink, name: &[u8]) -> Result<Option<i32>> {
    let answers = netlink
        .request(&Message::new(RTM_GETLINK, NLM_F_DUMP, &link(0, 0, 0)))
        .doing(|| "listing the devices of the container")?;
    let found = answers.iter().find(|answer| attribute(answer, LINK, IFLA_IFNAME) == Some(name));
    Ok(found.and_then(|answer| Some(i32::from_ne_bytes(answer.get(4..8)?.try_into().ok()?))))
}

fn permanent_addresses(netlink: &Netlink, number: i32) -> Result<Vec<Permanent>> {
    let answers = netlink
        .request(&Message::new(RTM_GETADDR, NLM_F_DUMP, &[0; ADDRESS]))
        .doing(|| "listing its addresses")?;
    Ok(answers.iter().filter_map(|answer| permanent(answer, number)).collect())
}

/// An address of this device that is permanent and of global scope. Source: `struct ifaddrmsg` in linux/if_addr.h.
fn permanent(answer: &[u8], number: i32) -> Option<Permanent> {
    let &[family, prefix, flags, scope, ref rest @ ..] = answer else { return None };
    let device = i32::from_ne_bytes(rest.get(..4)?.try_into().ok()?);
    // The eight bits of the fixed part became too few.
    let flags = match attribute(answer, ADDRESS, IFA_FLAGS) {
        Some(all) => u32::from_ne_bytes(all.try_into().ok()?),
        None => u32::from(flags),
    };
    if device != number || scope != RT_SCOPE_UNIVERSE || flags & IFA_F_PERMANENT == 0 {
        return None;
    }
    let known = [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST];
    let attributes =
        known.into_iter().filter_map(|kind| Some((kind, attribute(answer, ADDRESS, kind)?.to_vec())));
    Some(Permanent { family, prefix, attributes: attributes.collect() })
}

fn add(netlink: &Netlink, number: i32, address: &Permanent) -> Result<()> {
    let mut fixed = vec![address.family, address.prefix, 0, RT_SCOPE_UNIVERSE];
    fixed.extend(number.to_ne_bytes());
    let message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &fixed);
    let message =
        address.attributes.iter().fold(message, |message, (kind, value)| message.with(*kind, value));
    netlink.request(&message).map(drop).doing(|| "giving it its address again")
}
