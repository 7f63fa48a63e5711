//! The way out of a bridge: what leaves its range through another device gets this machine's address. Source: nftables
//! (linux/netfilter/nf_tables.h), nfnetlink batches.

use std::net::Ipv4Addr;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use runtime::error::{Doing, Result};
use runtime::network::netlink::{Message, Netlink};

// From linux/netfilter/nfnetlink.h and nf_tables.h.
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;

const CHAIN: &[u8] = b"way_out\0";
/// The first register of four words.
const REGISTER: u32 = 1;

/// Makes the rules, in a table of the bridge's name.
///
/// # Errors
/// The kernel has no packet filter, or the caller lacks CAP_NET_ADMIN.
pub(super) fn open(bridge: &str, subnet: Ipv4Addr) -> Result<()> {
    let doing = || format!("letting the containers of {bridge} out");
    let table = [bridge.as_bytes(), b"\0"].concat();
    let post_routing = 4_u32.to_be_bytes();
    let source_nat = 100_u32.to_be_bytes();
    let messages = [
        message(NFT_MSG_NEWTABLE, NLM_F_CREATE).with(NFTA_TABLE_NAME, &table),
        message(NFT_MSG_NEWCHAIN, NLM_F_CREATE)
            .with(NFTA_CHAIN_TABLE, &table)
            .with(NFTA_CHAIN_NAME, CHAIN)
            .nest(NFTA_CHAIN_HOOK, |hook| {
                hook.with(NFTA_HOOK_HOOKNUM, &post_routing).with(NFTA_HOOK_PRIORITY, &source_nat)
            })
            .with(NFTA_CHAIN_TYPE, b"nat\0"),
        message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND)
            .with(NFTA_RULE_TABLE, &table)
            .with(NFTA_RULE_CHAIN, CHAIN)
            .nest(NFTA_RULE_EXPRESSIONS, |rule| masquerade(rule, bridge, subnet)),
    ];
    Netlink::open(SockProtocol::NetlinkNetFilter)?.batch(&messages).doing(doing)
}

/// Removes the table, if it is there.
///
/// # Errors
/// The kernel has no packet filter, or refuses.
pub(super) fn close(bridge: &str) -> Result<()> {
    let table = [bridge.as_bytes(), b"\0"].concat();
    let message = message(NFT_MSG_DELTABLE, 0).with(NFTA_TABLE_NAME, &table);
    match Netlink::open(SockProtocol::NetlinkNetFilter)?.batch(&[message]) {
        Err(Errno::ENOENT) => Ok(()),
        removed => removed.doing(|| format!("removing the rules of {bridge}")),
    }
}

/// A message of nf_tables about IPv4.
fn message(kind: u16, flags: u16) -> Message {
    const SUBSYSTEM: u16 = 10;
    let family = u8::try_from(libc::AF_INET).expect("a small number");
    // struct nfgenmsg: family, version, resource.
    Message::new(SUBSYSTEM << 8 | kind, flags, &[family, 0, 0, 0])
}

/// `ip saddr SUBNET oifname != BRIDGE masquerade`
fn masquerade(rule: Message, bridge: &str, subnet: Ipv4Addr) -> Message {
    const NETWORK_HEADER: u32 = 1;
    const SOURCE_ADDRESS: u32 = 12;
    const PREFIX_BYTES: u32 = 3;
    const OUTPUT_NAME: u32 = 7;
    const EQUAL: u32 = 0;
    const NOT_EQUAL: u32 = 1;
    const NAME_BYTES: usize = 16;
    let mut name = bridge.as_bytes().to_vec();
    name.resize(NAME_BYTES, 0);
    let rule = expression(rule, b"payload\0", |data| {
        numbers(data, &[(1, REGISTER), (2, NETWORK_HEADER), (3, SOURCE_ADDRESS), (4, PREFIX_BYTES)])
    });
    let rule = compare(rule, EQUAL, &subnet.octets()[..3]);
    let rule = expression(rule, b"meta\0", |data| numbers(data, &[(1, REGISTER), (2, OUTPUT_NAME)]));
    let rule = compare(rule, NOT_EQUAL, &name);
    expression(rule, b"masq\0", |data| data)
}

fn expression(rule: Message, name: &[u8], fill: impl FnOnce(Message) -> Message) -> Message {
    rule.nest(NFTA_LIST_ELEM, |element| element.with(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, fill))
}

/// Attributes that are numbers in network order.
fn numbers(mut data: Message, values: &[(u16, u32)]) -> Message {
    for (kind, value) in values {
        data = data.with(*kind, &value.to_be_bytes());
    }
    data
}

fn compare(rule: Message, how: u32, value: &[u8]) -> Message {
    const DATA: u16 = 3;
    expression(rule, b"cmp\0", |data| {
        numbers(data, &[(1, REGISTER), (2, how)]).nest(DATA, |data| data.with(NFTA_DATA_VALUE, value))
    })
}
