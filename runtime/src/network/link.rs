//! Virtual Ethernet pairs, addresses and rates. Source: veth(4), rtnetlink(7), tc-tbf(8).

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::netlink::{Message, Netlink, attribute, index};
use crate::error::{Doing, Remedy, Result};

// From linux/rtnetlink.h, linux/if_link.h, linux/veth.h, linux/pkt_sched.h and linux/inet_diag.h.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_NEWQDISC: u16 = 36;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_DUMP: u16 = 0x300;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_LINKLAYER_ETHERNET: u8 = 1;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_TCLASS: u16 = 6;
const INET_DIAG_CLASS_ID: u16 = 17;

/// `struct ifinfomsg` of a device.
fn device(number: i32, flags: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(number.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes
}

fn name(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// Makes a pair of devices, one here, one in the network namespace of a process.
///
/// # Errors
/// The name is taken, the process is gone, or the kernel has no veth.
pub fn make_pair(here: &str, there: &str, pid: i32) -> Result<()> {
    pair(here, there, None, IFLA_NET_NS_PID, pid)
}

/// Makes a pair of devices, one here, one in another network namespace, with a hardware address there.
///
/// # Errors
/// The name is taken, or the kernel has no veth.
pub fn make_pair_into(here: &str, there: &str, hardware: [u8; 6], namespace: impl AsFd) -> Result<()> {
    pair(here, there, Some(hardware), IFLA_NET_NS_FD, namespace.as_fd().as_raw_fd())
}

fn pair(here: &str, there: &str, hardware: Option<[u8; 6]>, place: u16, number: i32) -> Result<()> {
    let number = number.to_ne_bytes();
    let message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &device(0, 0))
        .with(IFLA_IFNAME, &name(here))
        .nest(IFLA_LINKINFO, |info| {
            info.with(IFLA_INFO_KIND, b"veth").nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    let peer = peer.raw(&device(0, 0)).with(IFLA_IFNAME, &name(there)).with(place, &number);
                    match hardware {
                        Some(address) => peer.with(IFLA_ADDRESS, &address),
                        None => peer,
                    }
                })
            })
        });
    Netlink::open(SockProtocol::NetlinkRoute)?
        .request(&message)
        .map(drop)
        .doing(|| format!("making the veth pair {here} and {there}"))
        .or_advise(|| "EOPNOTSUPP: this kernel has no veth (modprobe veth)")
}

/// Gives a device of the caller's network namespace an address and brings it up.
///
/// # Errors
/// There is no such device, or the kernel refuses.
pub fn bring_up(link: &str, address: Ipv4Addr, prefix: u8) -> Result<()> {
    let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    let number = index(link)?;
    let family = u8::try_from(libc::AF_INET).expect("a small number");
    let mut fixed = vec![family, prefix, 0, 0];
    fixed.extend(number.to_ne_bytes());
    let octets = address.octets();
    let message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &fixed)
        .with(IFA_LOCAL, &octets)
        .with(IFA_ADDRESS, &octets);
    netlink.request(&message).map(drop).doing(|| format!("giving {link} the address {address}"))?;
    set_up(link)
}

/// The number of a device of the caller's network namespace, if there is one.
pub fn find(link: &str) -> Option<i32> {
    index(link).ok()
}

/// The IPv4 addresses of the caller's network namespace, each with its device's number.
///
/// # Errors
/// The kernel does not tell.
pub fn addresses() -> Result<Vec<(i32, Ipv4Addr)>> {
    let family = u8::try_from(libc::AF_INET).expect("a small number");
    // struct ifaddrmsg: family, length of the prefix, flags, scope, device.
    const FIXED: usize = 8;
    let mut fixed = vec![0; FIXED];
    fixed[0] = family;
    let answers = Netlink::open(SockProtocol::NetlinkRoute)?
        .request(&Message::new(RTM_GETADDR, NLM_F_DUMP, &fixed))
        .doing(|| "listing the addresses of the network namespace")?;
    Ok(answers
        .iter()
        .filter_map(|answer| {
            let device = i32::from_ne_bytes(answer.get(4..FIXED)?.try_into().ok()?);
            let octets: [u8; 4] = attribute(answer, FIXED, IFA_LOCAL)?.try_into().ok()?;
            Some((device, Ipv4Addr::from(octets)))
        })
        .collect())
}

/// Brings a device up.
///
/// # Errors
/// There is no such device, or the kernel refuses.
pub fn set_up(link: &str) -> Result<()> {
    let up = u32::try_from(libc::IFF_UP).expect("a low bit");
    let message = Message::new(RTM_NEWLINK, 0, &device(index(link)?, up));
    Netlink::open(SockProtocol::NetlinkRoute)?
        .request(&message)
        .map(drop)
        .doing(|| format!("bringing {link} up"))
}

/// Makes a bridge.
///
/// # Errors
/// The name is taken, or the kernel has no bridges.
pub fn make_bridge(link: &str) -> Result<()> {
    let message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &device(0, 0))
        .with(IFLA_IFNAME, &name(link))
        .nest(IFLA_LINKINFO, |info| info.with(IFLA_INFO_KIND, b"bridge"));
    Netlink::open(SockProtocol::NetlinkRoute)?
        .request(&message)
        .map(drop)
        .doing(|| format!("making the bridge {link}"))
        .or_advise(|| "EOPNOTSUPP: this kernel has no bridges (modprobe bridge)")
}

/// Makes a device a port of a bridge.
///
/// # Errors
/// One of them does not exist.
pub fn plug(link: &str, bridge: &str) -> Result<()> {
    let master = index(bridge)?.to_ne_bytes();
    let message = Message::new(RTM_NEWLINK, 0, &device(index(link)?, 0)).with(IFLA_MASTER, &master);
    Netlink::open(SockProtocol::NetlinkRoute)?
        .request(&message)
        .map(drop)
        .doing(|| format!("making {link} a port of {bridge}"))
}

/// Removes a device, if it is still there.
///
/// # Errors
/// The kernel refuses.
pub fn remove(link: &str) -> Result<()> {
    let Ok(number) = index(link) else { return Ok(()) };
    match Netlink::open(SockProtocol::NetlinkRoute)?.request(&Message::new(
        RTM_DELLINK,
        0,
        &device(number, 0),
    )) {
        Err(Errno::ENODEV) => Ok(()),
        removed => removed.map(drop).doing(|| format!("removing {link}")),
    }
}

/// Sends whatever has no other way to a gateway.
///
/// # Errors
/// The gateway cannot be reached from here.
pub fn default_route(gateway: Ipv4Addr) -> Result<()> {
    const MAIN_TABLE: u8 = 254;
    const MADE_AT_BOOT: u8 = 3;
    const UNICAST: u8 = 1;
    const GATEWAY: u16 = 5;
    let family = u8::try_from(libc::AF_INET).expect("a small number");
    // struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags.
    let fixed = [family, 0, 0, 0, MAIN_TABLE, MADE_AT_BOOT, 0, UNICAST, 0, 0, 0, 0];
    let message =
        Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &fixed).with(GATEWAY, &gateway.octets());
    Netlink::open(SockProtocol::NetlinkRoute)?
        .request(&message)
        .map(drop)
        .doing(|| format!("setting the default route to {gateway}"))
}

/// Drops what comes in through a device and is meant for a range of addresses elsewhere, whether or not this machine
/// forwards. The machine's own addresses stay reachable. Source: ip-rule(8), type blackhole.
///
/// # Errors
/// The kernel has no routing rules.
pub fn forbid(link: &str, range: Ipv4Addr, prefix: u8) -> Result<()> {
    match rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, link, range, prefix) {
        Err(Errno::EEXIST) => Ok(()),
        made => made.doing(|| format!("keeping {link} apart from other networks")),
    }
}

/// Takes [`forbid`] back.
///
/// # Errors
/// The kernel refuses.
pub fn allow(link: &str, range: Ipv4Addr, prefix: u8) -> Result<()> {
    match rule(RTM_DELRULE, 0, link, range, prefix) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed.doing(|| format!("removing the rule of {link}")),
    }
}

fn rule(kind: u16, flags: u16, link: &str, range: Ipv4Addr, prefix: u8) -> std::result::Result<(), Errno> {
    const BLACKHOLE: u8 = 6;
    const DESTINATION: u16 = 1;
    const INPUT: u16 = 3;
    const PRIORITY: u16 = 6;
    let family = u8::try_from(libc::AF_INET).expect("a small number");
    // struct fib_rule_hdr: family, lengths of destination and source, tos, table, two reserved, action, flags.
    let fixed = [family, prefix, 0, 0, 0, 0, 0, BLACKHOLE, 0, 0, 0, 0];
    let message = Message::new(kind, flags, &fixed)
        .with(DESTINATION, &range.octets())
        .with(INPUT, &name(link))
        .with(PRIORITY, &1000_u32.to_ne_bytes());
    let netlink = Netlink::open(SockProtocol::NetlinkRoute).map_err(|_| Errno::EAFNOSUPPORT)?;
    netlink.request(&message).map(drop)
}

/// Limits what leaves through a device, by a token bucket: bytes in a second, and the bytes that may pass at once.
///
/// # Errors
/// There is no such device, or the kernel has no token buckets.
pub fn limit_rate(link: &str, bytes_per_second: u32, burst: u32) -> Result<()> {
    // struct tc_tbf_qopt: rate, peak rate, limit, buffer (in ticks of 64 ns), mtu. The link layer is named so that the
    // kernel needs no table of rates.
    let rate = |bytes: u32| {
        let mut spec = vec![0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
        spec.extend(bytes.to_ne_bytes());
        spec
    };
    let ticks = u64::from(burst) * 1_000_000_000 / u64::from(bytes_per_second) / 64;
    let mut options = rate(bytes_per_second);
    options.extend(rate(0));
    options.extend((burst * 8).to_ne_bytes());
    options.extend(u32::try_from(ticks).unwrap_or(u32::MAX).to_ne_bytes());
    options.extend(0_u32.to_ne_bytes());
    // struct tcmsg: family, device, handle, parent, info.
    let mut fixed = vec![0; 4];
    fixed.extend(index(link)?.to_ne_bytes());
    fixed.extend(0_u32.to_ne_bytes());
    fixed.extend(TC_H_ROOT.to_ne_bytes());
    fixed.extend(0_u32.to_ne_bytes());
    let message = Message::new(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &fixed)
        .with(TCA_KIND, b"tbf\0")
        .nest(TCA_OPTIONS, |all| all.with(TCA_TBF_PARMS, &options));
    Netlink::open(SockProtocol::NetlinkRoute)?
        .request(&message)
        .map(drop)
        .doing(|| format!("limiting the rate of {link}"))
        .or_advise(|| "ENOENT: this kernel has no token buckets (modprobe sch_tbf)")
}

/// The class id that marks the packets of a listening TCP socket, as the kernel's own account of it has it; `None` if
/// no socket listens on that port. Source: sock_diag(7), `INET_DIAG_CLASS_ID`.
///
/// # Errors
/// The kernel cannot be asked about sockets.
pub fn class_id_of_listener(port: u16) -> Result<Option<u32>> {
    const FIXED: usize = 72;
    const DUMP: u16 = 0x300;
    const LISTEN: u32 = 1 << 10;
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states, socket.
    let wanted = 1_u8 << (INET_DIAG_TCLASS - 1);
    let mut fixed = vec![
        u8::try_from(libc::AF_INET).expect("a small number"),
        u8::try_from(libc::IPPROTO_TCP).expect("a small number"),
        wanted,
        0,
    ];
    fixed.extend(LISTEN.to_ne_bytes());
    fixed.extend([0; 48]);
    let message = Message::new(SOCK_DIAG_BY_FAMILY, DUMP, &fixed);
    let answers = match Netlink::open(SockProtocol::NetlinkSockDiag)?.request(&message) {
        Err(Errno::ENOENT) => Vec::new(),
        answers => answers.doing(|| "asking about sockets").or_advise(|| "modprobe tcp_diag")?,
    };
    Ok(answers.iter().find_map(|answer| {
        // struct inet_diag_msg: family, state, timer, retransmits, then the socket's port in network order.
        let own = u16::from_be_bytes(answer.get(4..6)?.try_into().ok()?);
        let value = attribute(answer, FIXED, INET_DIAG_CLASS_ID)?;
        (own == port).then(|| value.try_into().ok().map(u32::from_ne_bytes))?
    }))
}
