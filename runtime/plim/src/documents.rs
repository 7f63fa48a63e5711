//! What `inspect` shows of images, volumes and networks. Source: Docker Engine API 1.45, `ImageInspect`, `Volume` and `Network`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use engine::containers::{Empty, Engine, RootFs};
use engine::image::{Descriptor, Digest, Execution, Image, Reference, Step};
use engine::network::Network;
use engine::volume::Volume;
use runtime::error::Result;

/// An image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImageDocument<'a> {
    id: &'a Digest,
    repo_tags: Vec<String>,
    repo_digests: [&'static str; 0],
    digest: &'a Digest,
    parent: &'static str,
    comment: &'a str,
    created: Option<&'a str>,
    docker_version: &'static str,
    author: &'a str,
    config: ImageConfig<'a>,
    architecture: &'a str,
    os: &'a str,
    size: u64,
    virtual_size: u64,
    graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    root_fs: RootFs<'a>,
    metadata: Metadata,
    layers: &'a [Descriptor],
    history: &'a [Step],
}

/// How containers of an image are started.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfig<'a> {
    user: &'a str,
    env: Option<&'a [String]>,
    cmd: Option<&'a [String]>,
    volumes: Option<BTreeMap<&'a str, Empty>>,
    working_dir: &'a str,
    entrypoint: Option<&'a [String]>,
    on_build: Option<&'a [String]>,
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exposed_ports: Option<BTreeMap<&'a str, Empty>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'a str>,
    /// As the image has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<&'a [String]>,
    /// Fields that nobody here knows.
    #[serde(flatten)]
    other: &'a Map<String, Value>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    name: &'static str,
    data: Directories,
}

/// The directories of the unpacked layers, the topmost apart.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directories {
    lower_dir: String,
    upper_dir: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: &'static str,
}

/// A set as Docker writes it; `null` if it is empty.
fn set<V>(all: &BTreeMap<String, V>) -> Option<BTreeMap<&str, Empty>> {
    (!all.is_empty()).then(|| all.keys().map(|name| (name.as_str(), Empty {})).collect())
}

/// A list; `null` if it is empty.
fn list<T>(all: &[T]) -> Option<&[T]> {
    (!all.is_empty()).then_some(all)
}

impl<'a> ImageConfig<'a> {
    fn of(own: &'a Execution) -> Self {
        Self {
            user: &own.user,
            env: list(&own.env),
            cmd: own.cmd.as_deref(),
            volumes: set(&own.volumes),
            working_dir: &own.working_dir,
            entrypoint: own.entrypoint.as_deref(),
            on_build: list(&own.on_build),
            labels: (!own.labels.is_empty()).then_some(&own.labels),
            exposed_ports: set(&own.exposed_ports),
            stop_signal: own.stop_signal.as_deref(),
            healthcheck: own.healthcheck.as_ref(),
            shell: own.shell.as_deref(),
            other: &own.other,
        }
    }
}

impl<'a> ImageDocument<'a> {
    /// All that is known of an image.
    ///
    /// # Errors
    /// Its layers cannot be measured.
    pub(super) fn of(engine: &Engine, image: &'a Image) -> Result<Self> {
        let size = engine.store.image_size(image)?;
        let own = &image.config;
        let mut dirs =
            own.rootfs.diff_ids.iter().rev().map(|layer| engine.store.layer_dir(layer).display().to_string());
        let upper_dir = dirs.next().unwrap_or_default();
        let lower_dir = dirs.collect::<Vec<_>>().join(":");
        Ok(Self {
            id: image.id(),
            repo_tags: image.names.iter().map(Reference::familiar).collect(),
            repo_digests: [],
            digest: &image.entry.digest,
            parent: "",
            comment: own.history.last().and_then(|step| step.comment.as_deref()).unwrap_or_default(),
            created: own.created.as_deref(),
            docker_version: "",
            author: own.author.as_deref().unwrap_or_default(),
            config: ImageConfig::of(&own.config),
            architecture: &own.architecture,
            os: &own.os,
            size,
            virtual_size: size,
            graph_driver: GraphDriver { name: "overlay2", data: Directories { lower_dir, upper_dir } },
            root_fs: RootFs::of(&own.rootfs.diff_ids),
            metadata: Metadata { last_tag_time: "0001-01-01T00:00:00Z" },
            layers: &image.manifest.layers,
            history: &own.history,
        })
    }
}

/// A volume.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VolumeDocument<'a> {
    created_at: &'a str,
    driver: &'static str,
    labels: &'a BTreeMap<String, String>,
    mountpoint: &'a Path,
    name: &'a str,
    options: Empty,
    scope: &'static str,
    anonymous: bool,
    used_by: Vec<String>,
}

impl<'a> VolumeDocument<'a> {
    /// All that is known of a volume.
    ///
    /// # Errors
    /// The containers that use it cannot be read.
    pub(super) fn of(engine: &Engine, volume: &'a Volume) -> Result<Self> {
        Ok(Self {
            created_at: &volume.created,
            driver: "local",
            labels: &volume.labels,
            mountpoint: &volume.path,
            name: &volume.name,
            options: Empty {},
            scope: "local",
            anonymous: volume.anonymous,
            used_by: engine.users_of_volume(&volume.name)?,
        })
    }
}

/// A network.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkDocument {
    name: String,
    id: String,
    created: String,
    scope: &'static str,
    driver: &'static str,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: ConfigFrom,
    config_only: bool,
    containers: BTreeMap<String, Member>,
    options: Empty,
    labels: BTreeMap<String, String>,
    bridge: String,
}

/// How addresses are given out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    driver: &'static str,
    options: Empty,
    config: [Subnet; 1],
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Subnet {
    subnet: String,
    gateway: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigFrom {
    network: &'static str,
}

/// A container on a network.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    name: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    mac_address: String,
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: &'static str,
}

impl NetworkDocument {
    /// All that is known of a network.
    ///
    /// # Errors
    /// Its present state or the containers cannot be read.
    pub(super) fn of(engine: &Engine, network: &Network) -> Result<Self> {
        let network = network.current()?;
        let mut containers = BTreeMap::new();
        for record in engine.containers()?.into_iter().filter(|record| record.host.network == network.name) {
            let Some(address) = engine.state(&record.id).address else { continue };
            let member = Member {
                name: record.name,
                endpoint_id: record.id.clone(),
                mac_address: engine::network::hardware_address(address),
                ipv4_address: format!("{address}/24"),
                ipv6_address: "",
            };
            containers.insert(record.id, member);
        }
        let subnet = Subnet { subnet: network.subnet().to_string(), gateway: network.gateway().to_string() };
        Ok(Self {
            id: network.id(),
            created: network.created.clone(),
            scope: "local",
            driver: "bridge",
            enable_ipv6: false,
            ipam: Ipam { driver: "default", options: Empty {}, config: [subnet] },
            internal: network.internal,
            attachable: false,
            ingress: false,
            config_from: ConfigFrom { network: "" },
            config_only: false,
            containers,
            options: Empty {},
            labels: network.labels.clone(),
            bridge: network.bridge().to_owned(),
            name: network.name,
        })
    }
}
