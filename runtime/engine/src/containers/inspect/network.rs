//! A container's place in its network.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::parts::PortBinding;
use crate::containers::engine::Engine;
use crate::containers::record::{Record, State};
use crate::network::Network;

/// The network of a container, with its published ports.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkSettings<'a> {
    bridge: &'static str,
    #[serde(rename = "SandboxID")]
    sandbox_id: String,
    sandbox_key: String,
    hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    link_local_ipv6_address: &'static str,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    secondary_ip_addresses: Option<Vec<String>>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    secondary_ipv6_addresses: Option<Vec<String>>,
    ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Repeated at the top level for tools that are older than named networks.
    #[serde(flatten)]
    top: Addresses,
    networks: BTreeMap<&'a str, Endpoint>,
}

impl NetworkSettings<'_> {
    /// Ports as `ps` shows them, by their numbers. Source: docker/cli, DisplayablePorts.
    pub(super) fn ports(&self) -> Vec<String> {
        let number = |port: &str| port.split('/').next().and_then(|number| number.parse::<u16>().ok());
        let mut all: Vec<_> = self.ports.iter().collect();
        all.sort_by_key(|(port, _)| number(port));
        let shown = |(port, bindings): (&String, &Option<Vec<PortBinding>>)| match bindings {
            None => vec![port.clone()],
            Some(all) => all.iter().map(|one| format!("{}:{}->{port}", one.host_ip, one.host_port)).collect(),
        };
        all.into_iter().flat_map(shown).collect()
    }
}

/// Its addresses on a network; empty while it does not run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Addresses {
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    gateway: String,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'static str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    mac_address: String,
}

/// Its end of a network.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<IpamConfig>,
    links: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(flatten)]
    addresses: Addresses,
    driver_opts: Option<BTreeMap<String, String>>,
}

/// An address that was asked for.
#[derive(Debug, Clone, Copy, Serialize)]
struct IpamConfig {
    #[serde(rename = "IPv4Address")]
    ipv4_address: Ipv4Addr,
}

/// Ports as they are published now; those that are only exposed have no place.
fn ports(record: &Record, state: &State, is_up: bool) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut all = BTreeMap::new();
    if !is_up {
        return all;
    }
    for name in record.config.exposed_ports.keys() {
        let name = if name.contains('/') { name.clone() } else { format!("{name}/tcp") };
        all.insert(name, None);
    }
    for port in &state.ports {
        let there = PortBinding { host_ip: port.address.to_string(), host_port: port.host.to_string() };
        let of_port = all.entry(format!("{}/{}", port.container, port.protocol)).or_insert(None);
        of_port.get_or_insert_default().push(there);
    }
    all
}

pub(super) fn network_settings<'a>(
    engine: &Engine,
    record: &'a Record,
    state: &State,
    is_up: bool,
) -> NetworkSettings<'a> {
    let network = record.own_network().and_then(|name| engine.networks.find(name).ok());
    let address = state.address.filter(|_| is_up);
    let current = network.as_ref().filter(|_| address.is_some()).and_then(|network| network.current().ok());
    let addresses = Addresses {
        endpoint_id: if address.is_some() { record.id.clone() } else { String::new() },
        gateway: current.as_ref().map(|network| network.gateway().to_string()).unwrap_or_default(),
        ip_address: address.map(|address| address.to_string()).unwrap_or_default(),
        ip_prefix_len: if address.is_some() { 24 } else { 0 },
        ipv6_gateway: "",
        global_ipv6_address: "",
        global_ipv6_prefix_len: 0,
        mac_address: address.map(crate::network::hardware_address).unwrap_or_default(),
    };
    let endpoint = Endpoint {
        ipam_config: record.host.fixed_address.map(|ipv4_address| IpamConfig { ipv4_address }),
        links: None,
        aliases: network.as_ref().filter(|network| network.has_names()).map(|_| {
            let mut names = record.host.aliases.clone();
            names.push(record.id[..12].to_owned());
            names
        }),
        network_id: network.as_ref().map(Network::id).unwrap_or_default(),
        addresses: addresses.clone(),
        driver_opts: None,
    };
    let name = record.host.network.as_str();
    let shares = name.starts_with("container:");
    NetworkSettings {
        bridge: "",
        sandbox_id: if is_up { record.id.clone() } else { String::new() },
        sandbox_key: if is_up && state.pid > 0 {
            format!("/proc/{}/ns/net", state.pid)
        } else {
            String::new()
        },
        hairpin_mode: false,
        link_local_ipv6_address: "",
        link_local_ipv6_prefix_len: 0,
        secondary_ip_addresses: None,
        secondary_ipv6_addresses: None,
        ports: ports(record, state, is_up),
        top: addresses,
        networks: if shares { BTreeMap::new() } else { [(name, endpoint)].into() },
    }
}
