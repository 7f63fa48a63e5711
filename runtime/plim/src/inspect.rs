//! `plim inspect`, `diff`, `port`

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::template;
use engine::containers::{self, Engine};
use engine::image::Image;
use runtime::error::{Error, Result};

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Container,
    Image,
    Volume,
    Network,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Template for each, such as '{{.State.Pid}}'
    #[arg(long, short, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Look only among these
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Inspect {
    /// The same, among things of a kind alone.
    pub(super) fn only(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let mut all = Vec::new();
        for name in &self.names {
            all.push(self.one(engine, name)?);
        }
        match &self.format {
            Some(format) => {
                for value in &all {
                    output::value(&template::fill(format, value)?);
                }
            }
            None => super::shared::print_json(&all)?,
        }
        Ok(())
    }

    fn one(&self, engine: &Engine, name: &str) -> Result<Value> {
        let may_be = |kind| self.kind.is_none_or(|wanted| wanted == kind);
        if may_be(Kind::Container) {
            match engine.find(name) {
                Ok(record) => return containers::inspect(engine, &record),
                Err(error) if self.kind.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        if may_be(Kind::Image) {
            match engine.store.find(name) {
                Ok(image) => return image_value(engine, &image),
                Err(error) if self.kind.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        if may_be(Kind::Volume) {
            match engine.volumes.find(name) {
                Ok(volume) => return volume_value(engine, &volume),
                Err(error) if self.kind.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        if may_be(Kind::Network) {
            match engine.networks.find(name) {
                Ok(network) => return network_value(engine, &network),
                Err(error) if self.kind.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        Err(Error::new(format!("there is no container, image, volume or network '{name}'")))
    }
}

fn image_value(engine: &Engine, image: &Image) -> Result<Value> {
    let config = serde_json::to_value(&image.config.config).map_err(|error| Error::new(error.to_string()))?;
    let size: u64 = image.manifest.layers.iter().map(|layer| layer.size).sum();
    let layers: Vec<String> = image
        .config
        .rootfs
        .diff_ids
        .iter()
        .rev()
        .map(|layer| engine.store.layer_dir(layer).display().to_string())
        .collect();
    Ok(json!({
        "Id": image.id(),
        "RepoTags": image.names.iter().map(engine::image::Reference::familiar).collect::<Vec<_>>(),
        "Digest": image.entry.digest,
        "Created": image.config.created,
        "Author": image.config.author,
        "Architecture": image.config.architecture,
        "Os": image.config.os,
        "Size": size,
        "Config": config,
        "RootFS": { "Type": "layers", "Layers": image.config.rootfs.diff_ids },
        "Layers": image.manifest.layers,
        "GraphDriver": { "Name": "overlay2", "Data": { "LowerDir": layers.join(":") } },
        "History": image.config.history,
    }))
}

pub(super) fn volume_value(engine: &Engine, volume: &engine::volume::Volume) -> Result<Value> {
    Ok(json!({
        "Name": volume.name,
        "Driver": "local",
        "Mountpoint": volume.path,
        "CreatedAt": volume.created,
        "Anonymous": volume.anonymous,
        "UsedBy": engine.users_of_volume(&volume.name)?,
    }))
}

pub(super) fn network_value(engine: &Engine, network: &engine::network::Network) -> Result<Value> {
    let network = network.current()?;
    let mut members = serde_json::Map::new();
    for record in engine.containers()? {
        if record.host.network == network.name
            && let Some(address) = engine.state(&record.id).address
        {
            members.insert(record.id, json!({ "Name": record.name, "IPv4Address": address }));
        }
    }
    Ok(json!({
        "Name": network.name,
        "Driver": "bridge",
        "Created": network.created,
        "Bridge": network.bridge(),
        "IPAM": { "Config": [{ "Subnet": network.subnet(), "Gateway": network.gateway() }] },
        "Containers": members,
    }))
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Name or id
    container: String,
}

impl Diff {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        for change in engine.changes(&engine.find(&self.container)?)? {
            output::showln!("{} {}", change.kind, output::text::word(&change.path.to_string_lossy()));
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Port {
    /// Name or id
    container: String,
}

impl Port {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let record = engine.find(&self.container)?;
        engine.running(&record)?;
        for port in engine.state(&record.id).ports {
            output::showln!("{}/{} -> {}:{}", port.container, port.protocol, port.address, port.host);
        }
        Ok(())
    }
}
