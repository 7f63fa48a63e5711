//! A container's file system and facts, for those who look at it from outside.

use std::fs::File;
use std::path::PathBuf;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use super::create::arguments;
use super::record::{Phase, Record};
use super::{Engine, watch_lock};
use crate::image::Store;
use crate::overlay::Stack;
use runtime::container::Container;
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::switch::make_parent_private;

/// A container's root as a path of this process: that of its first process while it runs, volumes included; its layers alone
/// when it does not.
#[derive(Debug)]
pub struct Rooted {
    /// The path.
    pub path: PathBuf,
    /// A stopped container must not be started while somebody has its layers mounted.
    #[expect(dead_code, reason = "the lock goes when it is dropped")]
    lock: Option<File>,
}

impl Engine {
    /// Mounts a container's layers where it has its place for them, in the mount namespace of the caller.
    pub(super) fn mount_layers(&self, record: &Record) -> Result<PathBuf> {
        let dir = self.dir(&record.id);
        make_parent_private(&dir)?;
        // Options are bounded by a page, so layers are named relative to their directory.
        let before = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let layers = self.store.layers_dir();
        std::env::set_current_dir(&layers).doing(|| format!("entering {}", layers.display()))?;
        let mut lower = vec![dir.join("init")];
        let layers = Store::stacked(&record.layers);
        lower.extend(layers.into_iter().map(|layer| PathBuf::from(Store::layer_name(layer))));
        let stack = Stack {
            lower,
            upper: Some((dir.join("upper"), dir.join("work"))),
            // A layer must be complete by itself: no pointers to other layers in it.
            options: vec!["redirect_dir=off".into(), "metacopy=off".into()],
        };
        let merged = dir.join("merged");
        let mounted = stack.mount(&merged);
        let _ = std::env::set_current_dir(before);
        mounted.map(|()| merged)
    }

    /// Makes a container's root visible to this process, which must have a single thread.
    ///
    /// # Errors
    /// Its layers cannot be mounted.
    pub fn rooted(&self, record: &Record) -> Result<Rooted> {
        if let Ok(container) = self.running(record) {
            let pid = container.state().pid;
            return Ok(Rooted { path: PathBuf::from(format!("/proc/{pid}/root")), lock: None });
        }
        let lock = watch_lock::open(&self.dir(&record.id).join("lock"))?;
        if !watch_lock::hold(&lock)? {
            return Err(Error::new(format!("the files of container '{}' are in use", record.name))
                .remedy("another command looks at them, or it has just been started: try again"));
        }
        unshare(CloneFlags::CLONE_NEWNS).doing(|| "making a mount namespace")?;
        Ok(Rooted { path: self.mount_layers(record)?, lock: Some(lock) })
    }

    /// Where a container's changes are.
    pub fn upper(&self, record: &Record) -> PathBuf {
        self.dir(&record.id).join("upper")
    }
}

/// All that is known of a container, in the form that Docker gives it.
///
/// # Errors
/// None at present; what cannot be found out is absent.
pub fn inspect(engine: &Engine, record: &Record) -> Result<Value> {
    let state = engine.state(&record.id);
    let phase = engine.phase(&record.id);
    let dir = engine.dir(&record.id);
    let is_up = matches!(phase, Phase::Running | Phase::Paused);
    let words = arguments(&record.config);
    let lower: Vec<String> = std::iter::once(dir.join("init"))
        .chain(record.layers.iter().rev().map(|layer| engine.store.layer_dir(layer)))
        .map(|path| path.display().to_string())
        .collect();
    let container = engine.running(record).ok();
    let cgroups: Vec<String> = container.iter().flat_map(Container::cgroup_dirs).collect();
    let ports: serde_json::Map<String, Value> = state
        .ports
        .iter()
        .map(|port| {
            let there = json!([{ "HostIp": port.address.to_string(), "HostPort": port.host.to_string() }]);
            (format!("{}/{}", port.container, port.protocol), there)
        })
        .collect();
    let resources = &record.host.resources;
    let (cpu, memory) =
        (resources.cpu.clone().unwrap_or_default(), resources.memory.clone().unwrap_or_default());
    let address = state.address.filter(|_| is_up).map(|address| address.to_string()).unwrap_or_default();
    Ok(json!({
        "Id": record.id,
        "Created": record.created,
        "Path": words.first(),
        "Args": words.get(1..),
        "State": {
            "Status": phase.to_string(),
            "Running": is_up,
            "Paused": phase == Phase::Paused,
            "OOMKilled": state.oom_killed,
            "Dead": phase == Phase::Dead,
            "Pid": if is_up { state.pid } else { 0 },
            "ExitCode": state.exit_code.unwrap_or(0),
            "Error": state.error.unwrap_or_default(),
            "StartedAt": state.started,
            "FinishedAt": state.finished,
        },
        "Image": record.image_id,
        "Name": format!("/{}", record.name),
        "LogPath": dir.join("log"),
        "HostnamePath": dir.join("hostname"),
        "HostsPath": dir.join("hosts"),
        "ResolvConfPath": dir.join("resolv.conf"),
        "HostConfig": {
            "NetworkMode": record.host.network,
            "AutoRemove": record.host.auto_remove,
            "Privileged": record.host.privileged,
            "ReadonlyRootfs": record.host.read_only,
            "CapAdd": record.host.cap_add,
            "CapDrop": record.host.cap_drop,
            "CpuPeriod": cpu.period,
            "CpuQuota": cpu.quota,
            "CpuShares": cpu.shares,
            "CpusetCpus": cpu.cpus,
            "Memory": memory.limit,
            "MemorySwap": memory.swap,
            "PidsLimit": resources.pids.map(|pids| pids.limit),
            "Sysctls": record.host.sysctls,
            "Ulimits": record.host.ulimits,
        },
        "Cgroups": cgroups,
        "GraphDriver": {
            "Name": "overlay2",
            "Data": {
                "LowerDir": lower.join(":"),
                "UpperDir": dir.join("upper"),
                "WorkDir": dir.join("work"),
                "MergedDir": if is_up { PathBuf::from(format!("/proc/{}/root", state.pid)) } else { dir.join("merged") },
            },
        },
        "RootFS": { "Type": "layers", "Layers": record.layers },
        "Mounts": record.mounts,
        "Config": config(record)?,
        "NetworkSettings": {
            "IPAddress": address,
            "Ports": ports,
            "Networks": record.own_network().map(|name| json!({ name: { "IPAddress": address } })),
        },
    }))
}

fn config(record: &Record) -> Result<Value> {
    let mut config =
        serde_json::to_value(&record.config).map_err(|error| Error::new(format!("writing JSON: {error}")))?;
    config["Hostname"] = record.hostname().into();
    config["Tty"] = record.host.tty.into();
    config["OpenStdin"] = record.host.interactive.into();
    config["Image"] = record.image.clone().into();
    Ok(config)
}
