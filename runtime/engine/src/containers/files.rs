//! Files that are a container's own: /etc/hosts, /etc/hostname, /etc/resolv.conf; and its place in a network, which they tell.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::Engine;
use super::record::{Record, State};
use crate::network::Attached;
use runtime::error::{Doing, Error, Result};
use runtime::namespace::Kind;
use runtime::process::pidfd;

impl Record {
    /// The container's host name.
    pub fn hostname(&self) -> String {
        self.host.hostname.clone().unwrap_or_else(|| self.id[..12].to_owned())
    }

    /// The names by which others on its network know it.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![self.name.clone()];
        names.extend(self.host.aliases.iter().cloned());
        names.push(self.id[..12].to_owned());
        names
    }

    /// The network that it is a member of, if it has a network of its own.
    pub fn own_network(&self) -> Option<&str> {
        let network = self.host.network.as_str();
        (!matches!(network, "none" | "host") && !network.starts_with("container:")).then_some(network)
    }
}

impl Engine {
    /// Writes the container's own files.
    pub(super) fn write_files(&self, record: &Record, state: &State) -> Result<()> {
        let hostname = if record.host.network == "host" && record.host.hostname.is_none() {
            nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        } else {
            record.hostname()
        };
        self.write_file(record, "hostname", &format!("{hostname}\n"))?;
        let resolv = self.resolv_conf(record)?;
        self.write_file(record, "resolv.conf", &resolv)?;
        self.write_hosts(record, state, &[])
    }

    /// The host's resolver configuration, with what was asked for instead of its parts. Source: resolv.conf(5).
    fn resolv_conf(&self, record: &Record) -> Result<String> {
        let host = &record.host;
        let theirs = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let mut text = String::new();
        for line in theirs.lines() {
            let replaced = match line.split_whitespace().next() {
                Some("nameserver") => !host.dns.is_empty(),
                Some("search" | "domain") => !host.dns_search.is_empty(),
                Some("options") => !host.dns_options.is_empty(),
                _ => false,
            };
            if !replaced {
                let _ = writeln!(text, "{line}");
            }
        }
        for server in &host.dns {
            let _ = writeln!(text, "nameserver {server}");
        }
        // A dot alone: no domain at all.
        if !host.dns_search.is_empty() && host.dns_search != ["."] {
            let _ = writeln!(text, "search {}", host.dns_search.join(" "));
        }
        if !host.dns_options.is_empty() {
            let _ = writeln!(text, "options {}", host.dns_options.join(" "));
        }
        Ok(text)
    }

    fn write_hosts(&self, record: &Record, state: &State, neighbours: &[(Ipv4Addr, String)]) -> Result<()> {
        let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
        if let Some(address) = state.address {
            let _ = writeln!(text, "{address}\t{} {}", record.hostname(), record.name);
        }
        for host in &record.host.extra_hosts {
            let _ = writeln!(text, "{}\t{}", host.address, host.name);
        }
        for (address, name) in neighbours {
            let _ = writeln!(text, "{address}\t{name}");
        }
        self.write_file(record, "hosts", &text)
    }

    /// In place: what is mounted in the container is this very file.
    fn write_file(&self, record: &Record, name: &str, text: &str) -> Result<()> {
        let path = self.own_file(record, name);
        fs::write(&path, text).doing(|| format!("writing {}", path.display()))
    }

    /// Where one of the container's own files is on the host.
    pub(super) fn own_file(&self, record: &Record, name: &str) -> PathBuf {
        self.dir(&record.id).join(name)
    }

    /// Gives the container a place in its network, and notes it in its state.
    pub(super) fn join_network(&self, record: &Record, state: &mut State) -> Result<Option<Attached>> {
        let Some(name) = record.own_network() else { return Ok(None) };
        let network = self.networks.find(name)?;
        let _lock = self.networks.lock()?;
        let attached = network.attach(&record.id, &self.taken_addresses()?, record.host.fixed_address)?;
        state.address = Some(attached.address);
        state.device = Some(attached.device.clone());
        self.write_state(&record.id, state)?;
        Ok(Some(attached))
    }

    /// Has the members of the container's network know it by name, and it them; its own files are written by then.
    pub(super) fn meet_neighbours(&self, record: &Record) -> Result<()> {
        let Some(name) = record.own_network() else { return Ok(()) };
        let _lock = self.networks.lock()?;
        if self.networks.find(name)?.has_names() { self.tell_neighbours(name) } else { Ok(()) }
    }

    /// Takes the container's place away, and the bridge with the last one.
    pub(super) fn leave_network(&self, record: &Record, state: &mut State) -> Result<()> {
        let (Some(name), Some(device)) = (record.own_network(), state.device.take()) else { return Ok(()) };
        let _lock = self.networks.lock()?;
        state.address = None;
        self.write_state(&record.id, state)?;
        let Ok(network) = self.networks.find(name) else { return Ok(()) };
        let others = self.members(name)?;
        network.detach(&device, others.is_empty())?;
        if network.has_names() { self.tell_neighbours(name) } else { Ok(()) }
    }

    fn members(&self, network: &str) -> Result<Vec<(Record, State)>> {
        let mut members = Vec::new();
        for record in self.containers()? {
            let state = self.state(&record.id);
            if record.own_network() == Some(network) && state.device.is_some() {
                members.push((record, state));
            }
        }
        Ok(members)
    }

    /// On a network that was made by name its containers know each other by theirs.
    fn tell_neighbours(&self, network: &str) -> Result<()> {
        let members = self.members(network)?;
        for (record, state) in &members {
            let others: Vec<(Ipv4Addr, String)> = members
                .iter()
                .filter(|(other, _)| other.id != record.id)
                .filter_map(|(other, state)| Some((state.address?, other.names().join(" "))))
                .collect();
            // A member may be on its way out.
            let _ = self.write_hosts(record, state, &others);
        }
        Ok(())
    }

    /// A namespace of another container; `option` is the one that asks for it.
    pub(super) fn namespace_of(&self, option: &str, name: &str, kind: Kind) -> Result<PathBuf> {
        let other = self.find(name)?;
        let container = self.running(&other)?;
        let pid = container.state().pid;
        if pidfd::start_time(pid).is_none() {
            return Err(Error::new(format!("{option} container:{name}: it has just ended")));
        }
        Ok(runtime::namespace::link(pid, kind))
    }
}
