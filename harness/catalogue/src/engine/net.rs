//! Networks of containers, and ports on the host. The stage plays the host.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::commit::when;
use kit::check::{Check, Checked, Trouble};
use kit::dock::{BASE, Dock};
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
    .faults(&[network_changed("no veth")]),
    Check::of_engine("net.bridge.isolation", "containers on two networks do not", BRIDGES, isolation)
        .faults(&[network_changed("one bridge")]),
    Check::of_engine(
        "net.publish.port",
        "-p 4000:80 reaches the container's port 80 from the host on 4000",
        PORTS,
        publish,
    )
    .faults(&[before("not published", |_, words| {
        when(words, "run", || {
            Ok(Some(words.iter().filter(|word| *word != "-p" && !word.contains(":80")).cloned().collect()))
        })
    })]),
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
        &[after("left", |dock, words| {
            if words[0] == "rm" {
                let ip = std::path::Path::new("/usr/sbin/ip");
                let ip = if ip.exists() { ip } else { std::path::Path::new("/sbin/ip") };
                dock.on_stage(ip)
                    .args(["link", "add", "plvleft", "type", "veth", "peer", "name", "plvpeer"])
                    .status()?;
            }
            Ok(())
        })],
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
    let address = dock.inspect(&name, "/NetworkSettings/IPAddress")?.as_str().unwrap_or_default().to_owned();
    Ok((name, address))
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
    let other = dock.up(&[], BASE)?;
    let between = get(dock, &other, &format!("{address}:80"))?;
    dock.seen.expect_eq("from another container", &between.as_deref(), &Some("ahoy"));
    let host = get_on_host(dock, &format!("{address}:80"))?;
    dock.seen.expect_eq("from the host", &host.as_deref(), &Some("ahoy"));
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
    Ok(())
}

fn publish(dock: &mut Dock) -> Checked {
    dock.base()?;
    let (name, _) = server(dock, &["-p", "4000:80"], "ahoy")?;
    let loopback = get_on_host(dock, "127.0.0.1:4000")?;
    dock.seen.expect_eq("on the loopback device", &loopback.as_deref(), &Some("ahoy"));
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
    let own = dock.inspect(&name, "/NetworkSettings/IPAddress")?.as_str().unwrap_or_default().to_owned();
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
    let before = devices(dock)?;
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
