//! What the options of a new container ask for.

use std::io::Write;
use std::path::PathBuf;

use super::limits::parse_sysctl;
use super::options::Options;
use crate::shared::parse_bytes;
use engine::containers::{self, Claim, Engine, Host, HostDevice, LogConfig, Record, Restart, Wanted};
use engine::image::Store;
use engine::network::publish::Port;
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::resolve::read_bounded;

/// Bytes that a file of variables or labels may have.
const LARGEST_FILE: u64 = 4 << 20;

/// A source that begins with a dot is a path from the working directory.
fn from_here(volume: &str) -> Result<String> {
    let source = volume.split(':').next().unwrap_or_default();
    let is_path = matches!(source, "." | "..") || source.starts_with("./") || source.starts_with("../");
    if !is_path || source.len() == volume.len() {
        return Ok(volume.to_owned());
    }
    let here = std::env::current_dir().doing(|| format!("-v {volume}: finding the working directory"))?;
    let whole = containers::clean(&here.join(source));
    let text =
        whole.to_str().ok_or_else(|| Error::new(format!("-v {volume}: the path is not UTF-8 text")))?;
    if text.contains(':') {
        return Err(Error::new(format!("-v {volume}: the path {text} has a colon"))
            .remedy("use --mount type=bind,source=...,target=..."));
    }
    Ok(format!("{text}{}", &volume[source.len()..]))
}

impl Options {
    fn image(&self) -> &str {
        &self.words[0]
    }

    pub(super) fn create(self, engine: &Engine, attached: bool) -> Result<(Record, Claim)> {
        self.check()?;
        self.fetch(engine)?;
        if let Some(path) = &self.cidfile
            && path.is_file()
        {
            return Err(Error::new(format!("--cidfile: {} exists already", path.display()))
                .remedy("remove it, if its container is gone"));
        }
        let doing = |path: &PathBuf| format!("--cidfile: writing {}", path.display());
        let cidfile = self
            .cidfile
            .clone()
            .map(|path| output::Output::open(&path).doing(|| doing(&path)).map(|file| (path, file)))
            .transpose()?;
        let (record, claim) = engine.create(self.wanted(attached)?)?;
        if let Some((path, mut file)) = cidfile {
            let written = file.write_all(record.id.as_bytes());
            written.and_then(|()| file.finish()).doing(|| doing(&path))?;
        }
        Ok((record, claim))
    }

    /// An image that is not here is fetched from its registry.
    fn fetch(&self, engine: &Engine) -> Result<()> {
        let is_here = engine.store.find(self.image()).is_ok();
        match self.pull.as_str() {
            "never" => Ok(()),
            "missing" if is_here => Ok(()),
            "missing" | "always" => pull(&engine.store, self.image(), self.quiet),
            other => Err(Error::new(format!("invalid --pull '{other}': expected always, missing or never"))),
        }
    }

    /// What cannot be together, or cannot be had at all.
    fn check(&self) -> Result<()> {
        if self.rm && self.restart != Restart::No {
            return Err(Error::new("conflicting options: --restart and --rm")
                .remedy("a container that is removed cannot be started again"));
        }
        let here = engine::image::architecture();
        if let Some(platform) = &self.platform {
            let fits = match platform.split('/').collect::<Vec<_>>()[..] {
                ["linux"] => true,
                [one] | ["linux", one, ..] => one == here,
                _ => false,
            };
            if !fits {
                return Err(Error::new(format!("--platform {platform}: this machine is linux/{here}")));
            }
        }
        if self.disable_content_trust == Some(false) {
            return Err(Error::new("--disable-content-trust=false: signatures are not supported"));
        }
        if let Some(mode) = self.userns.as_deref().filter(|mode| !matches!(*mode, "" | "host")) {
            return Err(Error::new(format!("--userns {mode}: it is not supported")).remedy("host is"));
        }
        let named = !matches!(self.network.as_str(), "bridge" | "default" | "none" | "host")
            && !self.network.starts_with("container:");
        if !named && (!self.network_alias.is_empty() || self.ip.is_some()) {
            let option = if self.ip.is_some() { "--ip" } else { "--network-alias" };
            return Err(Error::new(format!("{option} needs a network that was made by name"))
                .remedy("`plim network create NAME` makes one, and --network NAME joins it"));
        }
        Ok(())
    }

    /// The labels of files, and those of the command line after them.
    fn labels(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for path in &self.label_file {
            all.extend(lines_of("--label-file", path)?);
        }
        all.extend(self.label.iter().cloned());
        Ok(all)
    }

    fn wanted(self, attached: bool) -> Result<containers::Create> {
        let host = Host { attached, ..self.host()? };
        let (labels, health) = (self.labels()?, self.health.value()?);
        let expose = self.expose.iter().map(|text| exposed(text)).collect::<Result<Vec<_>>>()?.concat();
        let (image, command) = (self.image().to_owned(), self.words[1..].to_vec());
        let mut mounts = Vec::new();
        for text in &self.volume {
            mounts.push(Wanted::from_volume(&from_here(text)?)?);
        }
        for text in &self.mount {
            mounts.push(Wanted::from_mount(text)?);
        }
        for text in &self.tmpfs {
            mounts.push(Wanted::from_tmpfs(text)?);
        }
        let mut env = Vec::new();
        for path in &self.env_file {
            env.extend(lines_of("--env-file", path)?);
        }
        env.extend(self.env);
        Ok(containers::Create {
            image,
            command,
            entrypoint: self
                .entrypoint
                .map(|program| if program.is_empty() { Vec::new() } else { vec![program] }),
            name: self.name,
            env,
            user: self.user,
            workdir: self.workdir,
            labels,
            expose,
            health,
            stop_signal: self.stop_signal,
            mounts,
            host,
            build: false,
        })
    }

    fn host(&self) -> Result<Host> {
        let mut host = Host {
            tty: self.tty,
            interactive: self.interactive,
            auto_remove: self.rm,
            restart: self.restart,
            init: self.init.unwrap_or(false),
            read_only: self.read_only,
            shm_size: self.shm_size.as_deref().map(parse_bytes).transpose()?,
            stop_timeout: self.stop_timeout,
            cidfile: self.cidfile.clone(),
            log: LogConfig::parse(&self.log_driver, &self.log_opt, parse_bytes)?,
            volumes_from: self.volumes_from.clone(),
            binds: self.volume.iter().map(|text| from_here(text)).collect::<Result<_>>()?,
            tmpfs: self
                .tmpfs
                .iter()
                .map(|text| text.split_once(':').unwrap_or((text, "")))
                .map(|(path, options)| (path.to_owned(), options.to_owned()))
                .collect(),
            ..Host::default()
        };
        self.set_limits(&mut host)?;
        self.set_rights(&mut host)?;
        self.set_namespaces(&mut host)?;
        self.set_network(&mut host)?;
        Ok(host)
    }

    fn set_limits(&self, host: &mut Host) -> Result<()> {
        host.resources = self.limits.resources()?;
        host.memory_swap = self.limits.swap()?;
        host.nano_cpus = self.limits.nano_cpus();
        host.ulimits = self.limits.rlimits()?;
        host.oom_score_adj = self.oom_score_adj;
        host.cgroup_parent = self.cgroup_parent.as_deref().map(group_parent).transpose()?;
        host.sysctls = self.sysctl.iter().map(|text| parse_sysctl(text)).collect::<Result<_>>()?;
        Ok(())
    }

    fn set_rights(&self, host: &mut Host) -> Result<()> {
        host.cap_add.clone_from(&self.cap_add);
        host.cap_drop.clone_from(&self.cap_drop);
        host.privileged = self.privileged;
        host.devices = self.device.iter().map(|text| HostDevice::parse(text)).collect::<Result<_>>()?;
        host.group_add.clone_from(&self.group_add);
        host.security_opt.clone_from(&self.security_opt);
        for option in &self.security_opt {
            match option.split_once(['=', ':']).unwrap_or((option, "")) {
                ("no-new-privileges", "" | "true") => host.no_new_privileges = true,
                ("no-new-privileges", "false") => host.no_new_privileges = false,
                ("seccomp", profile) if !profile.is_empty() => host.seccomp = Some(profile.to_owned()),
                ("label", _) => {}
                ("systempaths", "unconfined") => host.system_paths_unconfined = true,
                ("apparmor", "unconfined") => {}
                _ => {
                    return Err(Error::new(format!("--security-opt {option} is unknown")).remedy(
                        "no-new-privileges, seccomp=unconfined, seccomp=FILE and systempaths=unconfined are known",
                    ));
                }
            }
        }
        Ok(())
    }

    fn set_namespaces(&self, host: &mut Host) -> Result<()> {
        (host.pid_host, host.pid_of) = match self.pid.as_deref() {
            None | Some("" | "private") => (false, None),
            Some("host") => (true, None),
            Some(other) => match other.strip_prefix("container:").filter(|name| !name.is_empty()) {
                Some(name) => (false, Some(name.to_owned())),
                None => {
                    return Err(Error::new(format!("--pid {other} is unknown"))
                        .remedy("host and container:NAME are known"));
                }
            },
        };
        let is_host = |option: &str, value: &Option<String>, others: &[&str]| match value.as_deref() {
            None | Some("") => Ok(false),
            Some("host") => Ok(true),
            Some(other) if others.contains(&other) => Ok(false),
            Some(other) => Err(Error::new(format!("{option} {other}: it is not supported"))
                .remedy(format!("host {} known", if others.is_empty() { "is" } else { "and private are" }))),
        };
        host.ipc_host = is_host("--ipc", &self.ipc, &["private", "shareable"])?;
        host.uts_host = is_host("--uts", &self.uts, &[])?;
        host.cgroupns_host = is_host("--cgroupns", &self.cgroupns, &["private"])?;
        host.hostname = self.hostname.as_deref().map(containers::hostname).transpose()?;
        let domain = |name: &String| containers::domain("--domainname", name);
        host.domainname = self.domainname.as_ref().map(domain).transpose()?;
        Ok(())
    }

    fn set_network(&self, host: &mut Host) -> Result<()> {
        let ports = self.publish.iter().map(|text| Port::parse(text)).collect::<Result<Vec<_>>>()?.concat();
        let own_network =
            !matches!(self.network.as_str(), "none" | "host") && !self.network.starts_with("container:");
        if !ports.is_empty() && !own_network {
            return Err(Error::new(format!(
                "-p needs a network of the container's own, and --network is {}",
                self.network
            )));
        }
        host.network = if self.network == "default" { "bridge".to_owned() } else { self.network.clone() };
        host.ports = ports;
        host.publish_all = self.publish_all;
        host.aliases.clone_from(&self.network_alias);
        host.fixed_address = self.ip;
        host.extra_hosts = self.add_host.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        host.dns = self.dns.iter().map(|text| name_server(text)).collect::<Result<_>>()?;
        let domain = |name: &String| containers::domain("--dns-search", name);
        host.dns_search = self.dns_search.iter().map(domain).collect::<Result<_>>()?;
        host.dns_options = self.dns_option.iter().map(|text| resolver_option(text)).collect::<Result<_>>()?;
        Ok(())
    }
}

fn name_server(text: &str) -> Result<std::net::IpAddr> {
    text.parse().map_err(|_| Error::new(format!("--dns: invalid IP address '{text}'")))
}

/// The lines of a file that say something. Source: Docker reference, docker run --env-file.
fn lines_of(option: &str, path: &std::path::Path) -> Result<Vec<String>> {
    let doing = || format!("{option}: reading {}", path.display());
    let file = std::fs::File::open(path).doing(doing)?;
    let text =
        read_bounded(file, LARGEST_FILE).map_err(|error| Error::new(format!("{}: {error}", doing())))?;
    let text =
        String::from_utf8(text).map_err(|_| Error::new(format!("{}: it is not UTF-8 text", doing())))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_start);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

/// `80`, `80/udp` or `7000-7002`, as single ports.
fn exposed(text: &str) -> Result<Vec<String>> {
    if text.contains(':') {
        return Err(Error::new(format!("--expose {text}: invalid port"))
            .remedy("--expose takes ports of the container alone; -p publishes them"));
    }
    let ports = Port::parse(text).map_err(|_| {
        Error::new(format!("--expose {text}: invalid port")).remedy("such as 80, 53/udp or 7000-7002")
    })?;
    Ok(ports.iter().map(|port| format!("{}/{}", port.container, port.protocol)).collect())
}

/// An absolute path below the top of each hierarchy, or one below this command's own group.
fn group_parent(text: &str) -> Result<String> {
    let is_fit = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !std::path::Path::new(text).components().any(|part| part == std::path::Component::ParentDir);
    if is_fit {
        return Ok(text.to_owned());
    }
    Err(Error::new(format!("--cgroup-parent '{text}': invalid path")).remedy("such as /batch or batch"))
}

fn resolver_option(text: &str) -> Result<String> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'_');
    if !text.is_empty() && text.bytes().all(is_fit) {
        return Ok(text.to_owned());
    }
    Err(Error::new(format!("--dns-option '{text}': invalid option"))
        .remedy("such as ndots:1; see resolv.conf(5)"))
}

#[cfg(feature = "registry")]
fn pull(store: &Store, image: &str, quiet: bool) -> Result<()> {
    let name: engine::image::Reference = image.parse()?;
    let mut registry =
        engine::image::registry::Registry::open(&name.registry, &engine::image::registry::Access::default())?;
    registry.pull(store, &name, &crate::progress::Progress::new(quiet)).map(drop)
}

#[cfg(not(feature = "registry"))]
fn pull(store: &Store, image: &str, _quiet: bool) -> Result<()> {
    store.find(image).map(drop)
}
