//! What the options of a new container ask for.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use super::limits::{parse_sysctl, parse_ulimit};
use super::options::Options;
use crate::shared::parse_bytes;
use engine::containers::{self, Claim, Engine, Host, Record, Wanted};
use engine::image::Store;
use engine::network::publish::Port;
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::resolve::read_bounded;

/// Bytes that a file of variables may have.
const LARGEST_ENV_FILE: u64 = 4 << 20;

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

    pub(super) fn create(self, engine: &Engine) -> Result<(Record, Claim)> {
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
        let (record, claim) = engine.create(self.wanted()?)?;
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
            "missing" | "always" => pull(&engine.store, self.image()),
            other => Err(Error::new(format!("--pull {other}: it is always, missing or never"))),
        }
    }

    fn wanted(self) -> Result<containers::Create> {
        let host = self.host()?;
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
            let doing = || format!("--env-file: reading {}", path.display());
            let file = std::fs::File::open(path).doing(doing)?;
            let text = read_bounded(file, LARGEST_ENV_FILE)
                .map_err(|error| Error::new(format!("{}: {error}", doing())))?;
            let text = String::from_utf8(text)
                .map_err(|_| Error::new(format!("{}: it is not UTF-8 text", doing())))?;
            let lines =
                text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
            env.extend(lines.map(str::to_owned));
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
            labels: self.label,
            stop_signal: self.stop_signal,
            mounts,
            host,
            build: false,
        })
    }

    fn host(&self) -> Result<Host> {
        let mut no_new_privileges = false;
        let mut seccomp = None;
        for option in &self.security_opt {
            match option.split_once(['=', ':']).unwrap_or((option, "")) {
                ("no-new-privileges", "" | "true") => no_new_privileges = true,
                ("no-new-privileges", "false") => no_new_privileges = false,
                ("seccomp", profile) if !profile.is_empty() => seccomp = Some(profile.to_owned()),
                ("label", _) => {}
                ("apparmor", "unconfined") => {}
                _ => {
                    return Err(Error::new(format!("--security-opt {option} is unknown"))
                        .remedy("no-new-privileges, seccomp=unconfined and seccomp=FILE are known"));
                }
            }
        }
        let pid_host = match self.pid.as_deref() {
            None | Some("" | "private") => false,
            Some("host") => true,
            Some(other) => {
                return Err(Error::new(format!("--pid {other} is unknown")).remedy("host is known"));
            }
        };
        let ports = self.publish.iter().map(|text| Port::parse(text)).collect::<Result<Vec<_>>>()?.concat();
        let own_network =
            !matches!(self.network.as_str(), "none" | "host") && !self.network.starts_with("container:");
        if !ports.is_empty() && !own_network {
            return Err(Error::new(format!(
                "-p needs a network of the container's own, and --network is {}",
                self.network
            )));
        }
        let sysctls: BTreeMap<String, String> =
            self.sysctl.iter().map(|text| parse_sysctl(text)).collect::<Result<_>>()?;
        Ok(Host {
            hostname: self.hostname.as_deref().map(containers::hostname).transpose()?,
            tty: self.tty,
            interactive: self.interactive,
            auto_remove: self.rm,
            resources: self.resources()?,
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            privileged: self.privileged,
            no_new_privileges,
            seccomp,
            read_only: self.read_only,
            network: if self.network == "default" { "bridge".to_owned() } else { self.network.clone() },
            ports,
            ulimits: self.ulimit.iter().map(|text| parse_ulimit(text)).collect::<Result<_>>()?,
            sysctls,
            shm_size: self.shm_size.as_deref().map(parse_bytes).transpose()?,
            pid_host,
            oom_score_adj: self.oom_score_adj,
            extra_hosts: self.add_host.iter().map(|text| text.parse()).collect::<Result<_>>()?,
            dns: self.dns.iter().map(|text| name_server(text)).collect::<Result<_>>()?,
            stop_timeout: self.stop_timeout,
            cidfile: self.cidfile.clone(),
        })
    }
}

fn name_server(text: &str) -> Result<std::net::IpAddr> {
    text.parse().map_err(|_| Error::new(format!("--dns '{text}': it is no IP address")))
}

#[cfg(feature = "registry")]
fn pull(store: &Store, image: &str) -> Result<()> {
    let name: engine::image::Reference = image.parse()?;
    let mut registry =
        engine::image::registry::Registry::open(&name.registry, &engine::image::registry::Access::default())?;
    registry.pull(store, &name, &crate::progress::Progress::new(false)).map(drop)
}

#[cfg(not(feature = "registry"))]
fn pull(store: &Store, image: &str) -> Result<()> {
    store.find(image).map(drop)
}
