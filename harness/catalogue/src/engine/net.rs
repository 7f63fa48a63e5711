//! Networks of containers, and ports on the host. The fake host plays the host.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::commit::when;
use super::hostile::{Answer, Server};
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{after, before, in_fixture};
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
    .faults(&[in_fixture(FREE)]),
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
            after("left", |engine, words| {
                if words[0] == "rm" {
                    let ip = std::path::Path::new("/usr/sbin/ip");
                    let ip = if ip.exists() { ip } else { std::path::Path::new("/sbin/ip") };
                    engine
                        .on_host(ip)
                        .args(["link", "add", "plvleft", "type", "veth", "peer", "name", "plvpeer"])
                        .status()?;
                }
                Ok(())
            }),
            after("nft table left", |engine, words| {
                if words[0] == "rm" {
                    let nft = nft()
                        .ok_or_else(|| Trouble::Skip("there is no nft: apt-get install nftables".into()))?;
                    engine.on_host(&nft).args(["add", "table", "ip", "left"]).status()?;
                }
                Ok(())
            }),
        ],
    ),
];

/// A fault by which containers land in another network than the one asked for.
const fn network_changed(name: &'static str) -> kit::fault::Fault {
    before(name, |engine, words| {
        when(words, "run", || {
            let to = [("no veth", "none"), ("one bridge", "first"), ("one swapped", "none")];
            let to = to.into_iter().find(|(name, _)| engine.has(name)).map(|(_, to)| to).unwrap_or_default();
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
fn server(engine: &EngineFixture, flags: &[&str], text: &str) -> Result<(String, String), Trouble> {
    let name = engine.up_with(flags, BASE, &["/probe", "serve-http", "80", text])?;
    engine.await_line(&name, "listening")?;
    let address = address_of(engine, &name)?;
    Ok((name, address))
}

/// The address of a container on its one network; empty if it has none. `.NetworkSettings.IPAddress` is only that on the default network.
fn address_of(engine: &EngineFixture, name: &str) -> Result<String, Trouble> {
    let networks = engine.inspect(name, "/NetworkSettings/Networks")?;
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

/// All packet filter rules of the fake host, without counters. Source: nft(8).
fn rules(engine: &mut EngineFixture) -> Result<Option<String>, Trouble> {
    let Some(nft) = nft() else { return Ok(None) };
    let listed = engine.on_host(&nft).args(["--stateless", "list", "ruleset"]).output()?;
    if !listed.status.success() {
        let why = String::from_utf8_lossy(&listed.stderr).into_owned();
        engine.seen.note(format!("the packet filter cannot be listed: {why}"));
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&listed.stdout).into_owned()))
}

/// What a container gets from an address; nothing if nobody answers.
fn get(engine: &EngineFixture, container: &str, address: &str) -> Result<Option<String>, Trouble> {
    engine.exec(container, net::get(parsed(address)?))
}

fn get_on_host(engine: &EngineFixture, address: &str) -> Result<Option<String>, Trouble> {
    engine.ask_host(net::get(parsed(address)?))
}

fn parsed(address: &str) -> Result<SocketAddr, Trouble> {
    address.parse().map_err(|error| Trouble::Subject(format!("the address '{address}': {error}")))
}

fn reach(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let (_, address) = server(engine, &[], "ahoy")?;
    engine.seen.expect("address of the first container", &address, "an address", !address.is_empty());
    if address.is_empty() {
        return Ok(());
    }
    let other = engine.up(&[], BASE)?;
    let between = get(engine, &other, &format!("{address}:80"))?;
    engine.seen.expect_eq("from another container", &between.as_deref(), &Some("ahoy"));
    let host = get_on_host(engine, &format!("{address}:80"))?;
    engine.seen.expect_eq("from the host", &host.as_deref(), &Some("ahoy"));
    let on_host = Server::start(engine.listen("0.0.0.0:0")?, |_| Answer::Bytes {
        kind: "text/plain".into(),
        body: b"ashore".to_vec(),
    })?;
    let port = on_host.host.rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap_or_default();
    let ashore = get(engine, &other, &format!("{}:{port}", gateway_of(&address)));
    on_host.end(engine);
    engine.seen.expect_eq("the host from a container", &ashore?.as_deref(), &Some("ashore"));
    let own = engine.exec(&other, look::interfaces())?;
    engine.seen.note(format!("the other's devices: {:?}", own.devices));
    Ok(())
}

fn isolation(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    engine.command(&["network", "create", "first"])?;
    engine.command(&["network", "create", "second"])?;
    let (_, address) = server(engine, &["--network", "first"], "ahoy")?;
    let same = engine.up(&["--network", "first"], BASE)?;
    let other = engine.up(&["--network", "second"], BASE)?;
    // Forwarding between devices is what could join them, so it is on.
    let _ = engine.ask_host(files::write("/proc/sys/net/ipv4/ip_forward", "1"));
    let there = get(engine, &same, &format!("{address}:80"))?;
    engine.seen.expect_eq("from the same network", &there.as_deref(), &Some("ahoy"));
    let here = get(engine, &other, &format!("{address}:80"))?;
    engine.seen.expect_eq("from the other network", &here.as_deref(), &None);
    // What is dead is no proof of isolation: the other network works, too.
    let (_, second) = server(engine, &["--network", "second"], "avast")?;
    engine.seen.expect("address on the second network", &second, "an address", !second.is_empty());
    if second.is_empty() {
        return Ok(());
    }
    let there = get(engine, &other, &format!("{second}:80"))?;
    engine.seen.expect_eq("within the second network", &there.as_deref(), &Some("avast"));
    let here = get(engine, &same, &format!("{second}:80"))?;
    engine.seen.expect_eq("from the first network to the second", &here.as_deref(), &None);
    Ok(())
}

fn publish(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let (name, _) = server(engine, &["-p", "4000:80"], "ahoy")?;
    let loopback = get_on_host(engine, "127.0.0.1:4000")?;
    engine.seen.expect_eq("on the loopback device", &loopback.as_deref(), &Some("ahoy"));
    // Another address of the host, RFC 5737.
    engine.ask_host(net::add_address(Ipv4Addr::new(192, 0, 2, 9)))?;
    let elsewhere = get_on_host(engine, "192.0.2.9:4000")?;
    engine.seen.expect_eq("on another address of the host", &elsewhere.as_deref(), &Some("ahoy"));
    engine.command(&["rm", "-f", &name])?;
    let gone = get_on_host(engine, "127.0.0.1:4000")?;
    engine.seen.expect_eq("after its removal", &gone.as_deref(), &None);
    Ok(())
}

fn in_use(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    if !engine.has(FREE) {
        server(engine, &["-p", "4000:80"], "first")?;
    }
    let name = engine.name();
    let said =
        engine.output(&["run", "-d", "--rm", "--name", &name, "-p", "4000:80", BASE, "/probe", "sleep"])?;
    engine.seen.expect_eq("exit status", &said.status, &125);
    engine.seen.expect("the error names the port", &said.err, "4000", said.err.contains("4000"));
    let listed = engine.command(&["ps", "-a", "--filter", &format!("name={name}"), "-q"])?;
    engine.seen.expect_eq("containers of that name", &listed.as_str(), &"");
    let first = get_on_host(engine, "127.0.0.1:4000")?;
    engine.seen.expect_eq("the first one still answers", &first.as_deref(), &Some("first"));
    Ok(())
}

fn address(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let (_, own) = server(engine, &["-p", "127.0.0.1:4000:80"], "ahoy")?;
    let there = get_on_host(engine, "127.0.0.1:4000")?;
    engine.seen.expect_eq("on the loopback device", &there.as_deref(), &Some("ahoy"));
    // The bridge's own address is another of the host's.
    let bridge = own.rsplit_once('.').map(|(net, _)| format!("{net}.1")).unwrap_or_default();
    let elsewhere = get_on_host(engine, &format!("{bridge}:4000"))?;
    engine.seen.expect_eq("on another address of the host", &elsewhere.as_deref(), &None);
    Ok(())
}

fn files(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let name = engine
        .up(&["--hostname", "flagship", "--add-host", "pier:192.0.2.7", "--dns", "192.0.2.53"], BASE)?;
    let own = address_of(engine, &name)?;
    let read = |engine: &EngineFixture, file: &str| engine.exec(&name, look::read(file));
    let (hosts, hostname, resolv) =
        (read(engine, "/etc/hosts")?, read(engine, "/etc/hostname")?, read(engine, "/etc/resolv.conf")?);
    engine.seen.expect_eq("hostname", &hostname.trim(), &"flagship");
    let line = hosts.lines().any(|line| line.starts_with(&own) && line.contains("flagship"));
    engine.seen.expect("hosts has its own address and name", &hosts, format!("{own} flagship"), line);
    let added = hosts.lines().any(|line| line.split_whitespace().eq(["192.0.2.7", "pier"]));
    engine.seen.expect_eq("hosts has what was added", &added, &true);
    engine.seen.expect_eq("resolv.conf", &resolv.trim(), &"nameserver 192.0.2.53");
    let writable = engine.exec(&name, attempt::write("/etc/hosts", "x"))?;
    engine.seen.expect_eq("errno of writing to hosts", &writable, &Tried::ALLOWED);
    Ok(())
}

fn modes(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let none = engine.run(&["--network", "none"], BASE, look::interfaces())?;
    let alone = BTreeMap::from([("lo".to_owned(), vec![Ipv4Addr::LOCALHOST])]);
    engine.seen.expect_eq("devices with none", &none.devices, &alone);
    let host = engine.run(&["--network", "host"], BASE, look::namespaces())?;
    let own = engine.ask_host(look::namespaces())?;
    engine.seen.expect_eq("network namespace with host", &host.get("net"), &own.get("net"));
    let (first, address) = server(engine, &[], "ahoy")?;
    let mode = format!("container:{first}");
    let joined =
        engine.run(&["--network", &mode], BASE, net::get(SocketAddr::from((Ipv4Addr::LOCALHOST, 80))))?;
    engine.seen.expect_eq("the other's server on the own loopback device", &joined.as_deref(), &Some("ahoy"));
    engine.seen.note(format!("the other's address is {address}"));
    Ok(())
}

fn cleanup(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let devices = |engine: &EngineFixture| engine.ask_host(look::interfaces()).map(|all| all.devices);
    let (before, rules_before) = (devices(engine)?, rules(engine)?);
    engine.command(&["network", "create", "fleet"])?;
    let (one, _) = server(engine, &["-p", "4000:80"], "one")?;
    let two = engine.up(&["--network", "fleet"], BASE)?;
    let meanwhile = devices(engine)?;
    let grown = meanwhile.len() > before.len();
    engine.seen.expect("devices while they run", format!("{meanwhile:?}"), "more", grown);
    engine.command(&["rm", "-f", &one, &two])?;
    engine.command(&["network", "rm", "fleet"])?;
    let after = devices(engine)?;
    engine.seen.expect_eq("devices afterwards", &after, &before);
    match (rules_before, rules(engine)?) {
        (Some(before), Some(after)) => {
            engine.seen.expect("packet filter rules afterwards", &after, &before, after == before);
        }
        _ => engine.seen.note("without nft the packet filter's rules are not looked at"),
    }
    let ip = if std::path::Path::new("/usr/sbin/ip").exists() { "/usr/sbin/ip" } else { "/sbin/ip" };
    if std::path::Path::new(ip).exists() {
        let rules = engine.on_host(std::path::Path::new(ip)).args(["rule", "list"]).output()?;
        let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
        engine.seen.expect("routing rules afterwards", &rules, "none of ours", !rules.contains("plim"));
    }
    let port = get_on_host(engine, "127.0.0.1:4000")?;
    engine.seen.expect_eq("the published port afterwards", &port.as_deref(), &None);
    Ok(())
}
