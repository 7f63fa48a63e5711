//! What is known of a container's place in its network, in the form that Docker gives it.

use serde_json::{Map, Value, json};

use super::engine::Engine;
use super::record::{Record, State};
use crate::network::Network;

/// Ports as they are published now; those that are only exposed have no place.
fn ports(record: &Record, state: &State, is_up: bool) -> Map<String, Value> {
    let mut all: Map<String, Value> = Map::new();
    if !is_up {
        return all;
    }
    for name in record.config.exposed_ports.keys() {
        let name = if name.contains('/') { name.clone() } else { format!("{name}/tcp") };
        all.insert(name, Value::Null);
    }
    for port in &state.ports {
        let there = json!({ "HostIp": port.address.to_string(), "HostPort": port.host.to_string() });
        let of_port = all.entry(format!("{}/{}", port.container, port.protocol)).or_insert(Value::Null);
        match of_port.as_array_mut() {
            Some(bindings) => bindings.push(there),
            None => *of_port = json!([there]),
        }
    }
    all
}

/// The network of a container, with its published ports.
pub(super) fn network_settings(engine: &Engine, record: &Record, state: &State, is_up: bool) -> Value {
    let network = record.own_network().and_then(|name| engine.networks.find(name).ok());
    let address = state.address.filter(|_| is_up);
    let current = network.as_ref().filter(|_| address.is_some()).and_then(|network| network.current().ok());
    let gateway = current.as_ref().map(|network| network.gateway().to_string()).unwrap_or_default();
    let endpoint = json!({
        "IPAMConfig": record.host.fixed_address.map(|address| json!({ "IPv4Address": address })),
        "Links": null,
        "Aliases": network.as_ref().filter(|network| network.has_names()).map(|_| {
            let mut names = record.host.aliases.clone();
            names.push(record.id[..12].to_owned());
            names
        }),
        "NetworkID": network.as_ref().map(Network::id).unwrap_or_default(),
        "EndpointID": if address.is_some() { record.id.clone() } else { String::new() },
        "Gateway": gateway,
        "IPAddress": address.map(|address| address.to_string()).unwrap_or_default(),
        "IPPrefixLen": if address.is_some() { 24 } else { 0 },
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": address.map(crate::network::hardware_address).unwrap_or_default(),
        "DriverOpts": null,
    });
    // The default network's part stands at the top, too, for tools that are older than networks with names.
    let mut value = json!({
        "Bridge": "",
        "SandboxID": if is_up { record.id.clone() } else { String::new() },
        "SandboxKey": if is_up && state.pid > 0 { format!("/proc/{}/ns/net", state.pid) } else { String::new() },
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "Ports": ports(record, state, is_up),
    });
    for field in [
        "EndpointID",
        "Gateway",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "MacAddress",
    ] {
        value[field] = endpoint[field].clone();
    }
    let name = record.host.network.as_str();
    value["Networks"] = if name.starts_with("container:") { json!({}) } else { json!({ name: endpoint }) };
    value
}
