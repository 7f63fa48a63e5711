//! The document as a whole.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::config::{Config, config};
use super::host::{HostConfig, host_config};
use super::network::{NetworkSettings, network_settings};
use super::parts::{Directories, GraphDriver, RootFs};
use crate::containers::create::arguments;
use crate::containers::engine::Engine;
use crate::containers::health::{Health, HealthCheck};
use crate::containers::record::{MountKind, MountPoint, Phase, Record, State};
use crate::image::Digest;
use runtime::container::Container;
use runtime::error::Result;

/// Go's zero time, which Docker shows for what has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// All that is known of a container. Fields mean what Docker's documentation says.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect<'a> {
    id: &'a str,
    created: &'a str,
    path: String,
    args: Vec<String>,
    state: StateNow,
    image: &'a Digest,
    resolv_conf_path: PathBuf,
    hostname_path: PathBuf,
    hosts_path: PathBuf,
    log_path: PathBuf,
    name: String,
    restart_count: u32,
    driver: &'static str,
    platform: &'static str,
    mount_label: &'static str,
    process_label: &'static str,
    app_armor_profile: &'static str,
    #[serde(rename = "ExecIDs")]
    exec_ids: Option<Vec<String>>,
    host_config: HostConfig<'a>,
    cgroups: Vec<String>,
    graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    root_fs: RootFs<'a>,
    mounts: Vec<Mount<'a>>,
    config: Config<'a>,
    network_settings: NetworkSettings<'a>,
    #[serde(flatten)]
    sizes: Option<Sizes>,
}

/// What a container takes on the disk.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sizes {
    size_rw: u64,
    size_root_fs: u64,
}

impl Inspect<'_> {
    /// The command that its first process runs, without the engine's own init.
    pub fn command(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.path.as_str()).chain(self.args.iter().map(String::as_str))
    }

    /// Ports as they are published now, such as `127.0.0.1:8080->80/tcp`, and those that are only exposed, such as `80/tcp`.
    pub fn ports(&self) -> Vec<String> {
        self.network_settings.ports()
    }

    /// Adds the bytes that it has changed and those of its image, which are counted only if somebody asks.
    #[must_use]
    pub fn with_sizes(self, own: u64, image: u64) -> Self {
        Self { sizes: Some(Sizes { size_rw: own, size_root_fs: own + image }), ..self }
    }
}

/// Its state now.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StateNow {
    status: String,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    dead: bool,
    pid: i32,
    exit_code: i32,
    error: String,
    started_at: String,
    finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Mount<'a> {
    #[serde(rename = "Type")]
    kind: MountKind,
    source: &'a Path,
    destination: &'a Path,
    mode: &'static str,
    #[serde(rename = "RW")]
    writable: bool,
    propagation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<&'static str>,
}

/// All that is known of a container.
///
/// # Errors
/// The health check of its image is not valid. What cannot be found out is empty.
pub fn inspect<'a>(engine: &Engine, record: &'a Record) -> Result<Inspect<'a>> {
    let state = engine.state(&record.id);
    let phase = engine.phase(&record.id);
    let is_up = phase.is_up();
    let dir = engine.dir(&record.id);
    let mut words = arguments(&record.config).into_iter();
    let container = engine.running(record).ok();
    let mounts = record.mounts.iter().filter(|mount| !is_plain_memory(record, mount));
    Ok(Inspect {
        id: &record.id,
        created: &record.created,
        path: words.next().unwrap_or_default(),
        args: words.collect(),
        state: state_now(engine, record, &state, phase)?,
        image: &record.image_id,
        resolv_conf_path: dir.join("resolv.conf"),
        hostname_path: dir.join("hostname"),
        hosts_path: dir.join("hosts"),
        log_path: if record.host.log.driver == "none" { PathBuf::new() } else { dir.join("log") },
        name: format!("/{}", record.name),
        restart_count: state.restarts,
        driver: "overlay2",
        platform: "linux",
        mount_label: "",
        process_label: "",
        app_armor_profile: "",
        exec_ids: None,
        host_config: host_config(record),
        cgroups: container.iter().flat_map(Container::cgroup_dirs).collect(),
        graph_driver: graph_driver(engine, record, &state, is_up),
        root_fs: RootFs::of(&record.layers),
        mounts: mounts.map(mount_now).collect(),
        config: config(record),
        network_settings: network_settings(engine, record, &state, is_up),
        sizes: None,
    })
}

fn state_now(engine: &Engine, record: &Record, state: &State, phase: Phase) -> Result<StateNow> {
    let runs = matches!(phase, Phase::Running | Phase::Paused);
    let has_check = HealthCheck::of(&record.config)?.is_some();
    Ok(StateNow {
        status: phase.to_string(),
        running: phase.is_up(),
        paused: phase == Phase::Paused,
        restarting: phase == Phase::Restarting,
        oom_killed: state.oom_killed,
        dead: phase == Phase::Dead,
        pid: if runs { state.pid } else { 0 },
        exit_code: if runs { 0 } else { state.exit_code.unwrap_or(0) },
        error: state.error.clone().unwrap_or_default(),
        started_at: state.started.clone().unwrap_or_else(|| NEVER.into()),
        finished_at: state.finished.clone().unwrap_or_else(|| NEVER.into()),
        health: if has_check { engine.health(record) } else { None },
    })
}

/// `--tmpfs`, which Docker shows among the host's part alone.
fn is_plain_memory(record: &Record, mount: &MountPoint) -> bool {
    mount.kind == MountKind::Tmpfs && record.host.tmpfs.contains_key(&mount.destination.display().to_string())
}

fn mount_now(mount: &MountPoint) -> Mount<'_> {
    let is_propagation =
        |option: &&String| ["private", "slave", "shared"].iter().any(|end| option.ends_with(end));
    let propagation = mount.options.iter().find(is_propagation).map(String::as_str);
    let is_volume = mount.kind == MountKind::Volume;
    Mount {
        kind: mount.kind,
        source: &mount.source,
        destination: &mount.destination,
        mode: match (mount.writable, is_volume) {
            (false, _) => "ro",
            (true, true) => "z",
            (true, false) => "",
        },
        writable: mount.writable,
        propagation: propagation.unwrap_or(if mount.kind == MountKind::Bind { "rprivate" } else { "" }),
        name: mount.name.as_deref().filter(|_| is_volume),
        driver: is_volume.then_some("local"),
    }
}

fn graph_driver(engine: &Engine, record: &Record, state: &State, is_up: bool) -> GraphDriver {
    let dir = engine.dir(&record.id);
    let lower: Vec<String> = std::iter::once(dir.join("init"))
        .chain(record.layers.iter().rev().map(|layer| engine.store.layer_dir(layer)))
        .map(|path| path.display().to_string())
        .collect();
    let merged_dir = if is_up && state.pid > 0 {
        PathBuf::from(format!("/proc/{}/root", state.pid))
    } else {
        dir.join("merged")
    };
    GraphDriver {
        name: "overlay2",
        data: Directories {
            lower_dir: lower.join(":"),
            merged_dir,
            upper_dir: dir.join("upper"),
            work_dir: dir.join("work"),
        },
    }
}
