//! Networks of containers, and ports on the host. The stage plays the host.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::commit::when;
use super::hostile::{Answer, Server};
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, Dock};
use kit::fault::{after, before, scene};
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, files, look, net};

const BRIDGES: &str = "Docker documentation, Bridge network driver";
const PORTS: &str = "Docker documentation, Packet filtering and firewalls, Port publishing";
const FREE: &str = "the port is free";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "net.bridge.reach",
        "containers on one bridge reach each other and the host",
        BRIDGES,
        reach,
    )
    .faults(&[
        network_changed("no veth"),
        before("host unreachable", |_, words| {
            when(words, "exec", || {
                // Only the host is asked at another port than 80; this address belongs to nobody, RFC 5737.
                let mut words = words.to_vec();
                if let Some(address) = words.last_mut().filter(|word| is_of_host(word)) {
                    *address = "203.0.113.1:1".into();
                }
                Ok(Some(words))
            })
        }),
    ]),
    Check::of_engine("net.bridge.isolation", "containers on two networks do not", BRIDGES, isolation).faults(
        &[
            network_changed("one bridge"),
            before("second network dead", |_, words| {
                when(words, "run", || {
                    Ok(Some(
                        words
                            .iter()
                            .map(|word| if word == "second" { "none".into() } else { word.clone() })
                            .collect(),
                    ))
                })
            }),
        ],
    ),
    Check::of_engine(
        "net.publish.port",
        "-p 4000:80 reaches the container's port 80 from the host on 4000",
        PORTS,
        publish,
    )
    .faults(&[
        before("not published", |_, words| {
            when(words, "run", || {
                Ok(Some(
                    words.iter().filter(|word| *word != "-p" && !word.contains(":80")).cloned().collect(),
                ))
            })
        }),
        before("loopback only", |_, words| {
            when(words, "run", || {
                Ok(Some(words.iter().map(|word| word.replace("4000:80", "127.0.0.1:4000:80")).collect()))
            })
        }),
    ]),
    Check::of_engine(
        "net.publish.in-use",
        "a taken host port is a clear error and leaves nothing",
        PORTS,
        in_use,
    )
    .faults(&[scene(FREE)]),
    Check::of_engine("net.publish.address", "-p 127.0.0.1:… listens there alone", PORTS, address).faults(&[
        before("all addresses", |_, words| {
            when(words, "run", || {
                Ok(Some(words.iter().map(|word| word.replace("127.0.0.1:4000", "4000")).collect()))
            })
        }),
    ]),
    Check::of_engine(
        "net.files",
        "hosts, hostname, resolv.conf are the container's",
        "Docker reference, docker run, Network settings",
        files,
    )
    .faults(&[before("host's files", |_, words| {
        when(words, "run", || {
            let mut words = words.to_vec();
            for file in ["hosts", "hostname"] {
                words.splice(1..1, ["-v".to_owned(), format!("/etc/{file}:/etc/{file}:ro")]);
            }
            Ok(Some(words))
        })
    })]),
    Check::of_engine(
        "net.modes",
        "none, host and container:ID act as documented",
        "Docker reference, docker run --network",
        modes,
    )
    .faults(&[network_changed("one swapped")]),
    Check::of_engine("net.cleanup", "veth, addresses, rules are gone afterwards", BRIDGES, cleanup).faults(
        &[
            after("left", |dock, words| {
                if words[0] == "rm" {
                    let ip = std::path::Path::new("/usr/sbin/ip");
                    let ip = if ip.exists() { ip } else { std::path::Path::new("/sbin/ip") };
                    dock.on_stage(ip)
                        .args(["link", "add", "plvleft", "type", "veth", "peer", "name", "plvpeer"])
                        .status()?;
                }
                Ok(())
            }),
            after("nft table left", |dock, words| {
                if words[0] == "rm" {
                    let nft = nft()
                        .ok_or_else(|| Trouble::Skip("there is no nft: apt-get install nftables".into()))?;
                    dock.on_stage(&nft).args(["add", "table", "ip", "left"]).status()?;
                }
                Ok(())
            }),
        ],
    ),
];

/// A fault by which containers land in another network than the one asked for.
const fn network_changed(name: &'static str) -> kit::fault::Fault {
    before(name, |dock, words| {
        when(words, "run", || {
            let to = [("no veth", "none"), ("one bridge", "first"), ("one swapped", "none")];
            let to = to.into_iter().find(|(name, _)| dock.has(name)).map(|(_, to)| to).unwrap_or_default();
            let mut words = words.to_vec();
            match words.iter().position(|word| word == "--network") {
                Some(at) => words[at + 1] = to.to_owned(),
                None => drop(words.splice(1..1, ["--network".to_owned(), to.to_owned()])),
            }
            Ok(Some(words))
        })
    })
}

/// A container that answers on port 80, and its address.
fn server(dock: &Dock, flags: &[&str], text: &str) -> Result<(String, String), Trouble> {
    let name = dock.up_with(flags, BASE, &["/probe", "serve-http", "80", text])?;
    dock.await_line(&name, "listening")?;
    let address = address_of(dock, &name)?;
    Ok((name, address))
}

/// The address of a container on its one network; empty if it has none. `.NetworkSettings.IPAddress` is only that on the default network.
fn address_of(dock: &Dock, name: &str) -> Result<String, Trouble> {
    let networks = dock.inspect(name, "/NetworkSettings/Networks")?;
    let own = networks.as_object().and_then(|networks| networks.values().next());
    Ok(own.and_then(|own| own["IPAddress"].as_str()).unwrap_or_default().to_owned())
}

/// The first address of the network that an address belongs to, which is the host's.
fn gateway_of(address: &str) -> String {
    address.rsplit_once('.').map(|(network, _)| format!("{network}.1")).unwrap_or_default()
}

/// Whether a word is an address of the host and a port, in a network where containers answer on port 80.
fn is_of_host(word: &str) -> bool {
    word.parse::<std::net::SocketAddrV4>().is_ok_and(|at| at.ip().octets()[3] == 1 && at.port() != 80)
}

fn nft() -> Option<std::path::PathBuf> {
    runtime::process::in_path("nft")
}

/// All packet filter rules of the stage, without counters. Source: nft(8).
fn rules(dock: &mut Dock) -> Result<Option<String>, Trouble> {
    let Some(nft) = nft() else { return Ok(None) };
    let listed = dock.on_stage(&nft).args(["--stateless", "list", "ruleset"]).output()?;
    if !listed.status.success() {
        let why = String::from_utf8_lossy(&listed.stderr).into_owned();
        dock.seen.note(format!("the packet filter cannot be listed: {why}"));
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&listed.stdout).into_owned()))
}

/// What a container gets from an address; nothing if nobody answers.
fn get(dock: &Dock, container: &str, address: &str) -> Result<Option<String>, Trouble> {
    dock.exec(container, net::get(parsed(address)?))
}

fn get_on_host(dock: &Dock, address: &str) -> Result<Option<String>, Trouble> {
    dock.ask_stage(net::get(parsed(address)?))
}

fn parsed(address: &str) -> Result<SocketAddr, Trouble> {
    address.parse().map_err(|error| Trouble::Subject(format!("the address '{address}': {error}")))
}

fn reach(dock: &mut Dock) -> Checked {
    dock.base()?;
    let (_, address) = server(dock, &[], "ahoy")?;
    dock.seen.expect("address of the first container", &address, "an address", !address.is_empty());
    if address.is_empty() {
        return Ok(());
    }
    let other = dock.up(&[], BASE)?;
    let between = get(dock, &other, &format!("{address}:80"))?;
    dock.seen.expect_eq("from another container", &between.as_deref(), &Some("ahoy"));
    let host = get_on_host(dock, &format!("{address}:80"))?;
    dock.seen.expect_eq("from the host", &host.as_deref(), &Some("ahoy"));
    let on_host = Server::start(dock.listen("0.0.0.0:0")?, |_| Answer::Bytes {
        kind: "text/plain".into(),
        body: b"ashore".to_vec(),
    })?;
    let port = on_host.host.rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap_or_default();
    let ashore = get(dock, &other, &format!("{}:{port}", gateway_of(&address)));
    on_host.end(dock);
    dock.seen.expect_eq("the host from a container", &ashore?.as_deref(), &Some("ashore"));
    let own = dock.exec(&other, look::interfaces())?;
    dock.seen.note(format!("the other's devices: {:?}", own.devices));
    Ok(())
}

fn isolation(dock: &mut Dock) -> Checked {
    dock.base()?;
    dock.plim(&["network", "create", "first"])?;
    dock.plim(&["network", "create", "second"])?;
    let (_, address) = server(dock, &["--network", "first"], "ahoy")?;
    let same = dock.up(&["--network", "first"], BASE)?;
    let other = dock.up(&["--network", "second"], BASE)?;
    // Forwarding between devices is what could join them, so it is on.
    let _ = dock.ask_stage(files::write("/proc/sys/net/ipv4/ip_forward", "1"));
    let there = get(dock, &same, &format!("{address}:80"))?;
    dock.seen.expect_eq("from the same network", &there.as_deref(), &Some("ahoy"));
    let here = get(dock, &other, &format!("{address}:80"))?;
    dock.seen.expect_eq("from the other network", &here.as_deref(), &None);
    // What is dead is no proof of isolation: the other network works, too.
    let (_, second) = server(dock, &["--network", "second"], "avast")?;
    dock.seen.expect("address on the second network", &second, "an address", !second.is_empty());
    if second.is_empty() {
        return Ok(());
    }
    let there = get(dock, &other, &format!("{second}:80"))?;
    dock.seen.expect_eq("within the second network", &there.as_deref(), &Some("avast"));
    let here = get(dock, &same, &format!("{second}:80"))?;
    dock.seen.expect_eq("from the first network to the second", &here.as_deref(), &None);
    Ok(())
}

fn publish(dock: &mut Dock) -> Checked {
    dock.base()?;
    let (name, _) = server(dock, &["-p", "4000:80"], "ahoy")?;
    let loopback = get_on_host(dock, "127.0.0.1:4000")?;
    dock.seen.expect_eq("on the loopback device", &loopback.as_deref(), &Some("ahoy"));
    // Another address of the host, RFC 5737.
    dock.ask_stage(net::add_address(Ipv4Addr::new(192, 0, 2, 9)))?;
    let elsewhere = get_on_host(dock, "192.0.2.9:4000")?;
    dock.seen.expect_eq("on another address of the host", &elsewhere.as_deref(), &Some("ahoy"));
    dock.plim(&["rm", "-f", &name])?;
    let gone = get_on_host(dock, "127.0.0.1:4000")?;
    dock.seen.expect_eq("after its removal", &gone.as_deref(), &None);
    Ok(())
}

fn in_use(dock: &mut Dock) -> Checked {
    dock.base()?;
    if !dock.has(FREE) {
        server(dock, &["-p", "4000:80"], "first")?;
    }
    let name = dock.name();
    let said =
        dock.said(&["run", "-d", "--rm", "--name", &name, "-p", "4000:80", BASE, "/probe", "sleep"])?;
    dock.seen.expect_eq("exit status", &said.status, &125);
    dock.seen.expect("the error names the port", &said.err, "4000", said.err.contains("4000"));
    let listed = dock.plim(&["ps", "-a", "--filter", &format!("name={name}"), "-q"])?;
    dock.seen.expect_eq("containers of that name", &listed.as_str(), &"");
    let first = get_on_host(dock, "127.0.0.1:4000")?;
    dock.seen.expect_eq("the first one still answers", &first.as_deref(), &Some("first"));
    Ok(())
}

fn address(dock: &mut Dock) -> Checked {
    dock.base()?;
    let (_, own) = server(dock, &["-p", "127.0.0.1:4000:80"], "ahoy")?;
    let there = get_on_host(dock, "127.0.0.1:4000")?;
    dock.seen.expect_eq("on the loopback device", &there.as_deref(), &Some("ahoy"));
    // The bridge's own address is another of the host's.
    let bridge = own.rsplit_once('.').map(|(net, _)| format!("{net}.1")).unwrap_or_default();
    let elsewhere = get_on_host(dock, &format!("{bridge}:4000"))?;
    dock.seen.expect_eq("on another address of the host", &elsewhere.as_deref(), &None);
    Ok(())
}

fn files(dock: &mut Dock) -> Checked {
    dock.base()?;
    let name =
        dock.up(&["--hostname", "flagship", "--add-host", "pier:192.0.2.7", "--dns", "192.0.2.53"], BASE)?;
    let own = address_of(dock, &name)?;
    let read = |dock: &Dock, file: &str| dock.exec(&name, look::read(file));
    let (hosts, hostname, resolv) =
        (read(dock, "/etc/hosts")?, read(dock, "/etc/hostname")?, read(dock, "/etc/resolv.conf")?);
    dock.seen.expect_eq("hostname", &hostname.trim(), &"flagship");
    let line = hosts.lines().any(|line| line.starts_with(&own) && line.contains("flagship"));
    dock.seen.expect("hosts has its own address and name", &hosts, format!("{own} flagship"), line);
    let added = hosts.lines().any(|line| line.split_whitespace().eq(["192.0.2.7", "pier"]));
    dock.seen.expect_eq("hosts has what was added", &added, &true);
    dock.seen.expect_eq("resolv.conf", &resolv.trim(), &"nameserver 192.0.2.53");
    let writable = dock.exec(&name, attempt::write("/etc/hosts", "x"))?;
    dock.seen.expect_eq("errno of writing to hosts", &writable, &Tried::ALLOWED);
    Ok(())
}

fn modes(dock: &mut Dock) -> Checked {
    dock.base()?;
    let none = dock.run(&["--network", "none"], BASE, look::interfaces())?;
    let alone = BTreeMap::from([("lo".to_owned(), vec![Ipv4Addr::LOCALHOST])]);
    dock.seen.expect_eq("devices with none", &none.devices, &alone);
    let host = dock.run(&["--network", "host"], BASE, look::namespaces())?;
    let stage = dock.ask_stage(look::namespaces())?;
    dock.seen.expect_eq("network namespace with host", &host.get("net"), &stage.get("net"));
    let (first, address) = server(dock, &[], "ahoy")?;
    let mode = format!("container:{first}");
    let joined =
        dock.run(&["--network", &mode], BASE, net::get(SocketAddr::from((Ipv4Addr::LOCALHOST, 80))))?;
    dock.seen.expect_eq("the other's server on the own loopback device", &joined.as_deref(), &Some("ahoy"));
    dock.seen.note(format!("the other's address is {address}"));
    Ok(())
}

fn cleanup(dock: &mut Dock) -> Checked {
    dock.base()?;
    let devices = |dock: &Dock| dock.ask_stage(look::interfaces()).map(|all| all.devices);
    let (before, rules_before) = (devices(dock)?, rules(dock)?);
    dock.plim(&["network", "create", "fleet"])?;
    let (one, _) = server(dock, &["-p", "4000:80"], "one")?;
    let two = dock.up(&["--network", "fleet"], BASE)?;
    let meanwhile = devices(dock)?;
    let grown = meanwhile.len() > before.len();
    dock.seen.expect("devices while they run", format!("{meanwhile:?}"), "more", grown);
    dock.plim(&["rm", "-f", &one, &two])?;
    dock.plim(&["network", "rm", "fleet"])?;
    let after = devices(dock)?;
    dock.seen.expect_eq("devices afterwards", &after, &before);
    match (rules_before, rules(dock)?) {
        (Some(before), Some(after)) => {
            dock.seen.expect("packet filter rules afterwards", &after, &before, after == before);
        }
        _ => dock.seen.note("without nft the packet filter's rules are not looked at"),
    }
    let ip = if std::path::Path::new("/usr/sbin/ip").exists() { "/usr/sbin/ip" } else { "/sbin/ip" };
    if std::path::Path::new(ip).exists() {
        let rules = dock.on_stage(std::path::Path::new(ip)).args(["rule", "list"]).output()?;
        let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
        dock.seen.expect("routing rules afterwards", &rules, "none of ours", !rules.contains("plim"));
    }
    let port = get_on_host(dock, "127.0.0.1:4000")?;
    dock.seen.expect_eq("the published port afterwards", &port.as_deref(), &None);
    Ok(())
}
