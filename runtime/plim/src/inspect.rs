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
    /// What their changes take on the disk, too
    #[arg(long, short)]
    size: bool,
    /// Look only among these
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Prints all that is known of several things; what is there is printed, also when something else is not.
///
/// # Errors
/// One is not there, or the template is wrong.
pub(super) fn print(
    names: &[String],
    format: Option<&str>,
    look: impl Fn(&str) -> Result<Value>,
) -> Result<()> {
    let mut all = Vec::new();
    let found = super::shared::each(names, |name| {
        all.push(look(name)?);
        Ok(())
    });
    show(&all, format)?;
    found
}

fn show(all: &[Value], format: Option<&str>) -> Result<()> {
    match format {
        Some("json") => all.iter().for_each(|value| output::document(&value.to_string())),
        Some(format) => {
            for value in all {
                output::value(&template::fill(format, value)?);
            }
        }
        None => super::shared::print_json(&all)?,
    }
    Ok(())
}

impl Inspect {
    /// The same, among things of a kind alone.
    pub(super) fn only(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// What is there is printed, also when something else is not.
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let mut all = Vec::new();
        let found = super::shared::each(&self.names, |name| {
            all.push(self.one(engine, name)?);
            Ok(())
        });
        show(&all, self.format.as_deref())?;
        found
    }

    fn one(&self, engine: &Engine, name: &str) -> Result<Value> {
        let may_be = |kind| self.kind.is_none_or(|wanted| wanted == kind);
        if may_be(Kind::Container) {
            match engine.find(name) {
                Ok(record) => {
                    let mut value = containers::inspect(engine, &record)?;
                    if self.size {
                        let own = super::system::file_bytes(&engine.upper(&record));
                        let image = engine.store.find(record.image_id.as_str());
                        let below = image.and_then(|image| engine.store.image_size(&image)).unwrap_or(0);
                        value["SizeRw"] = own.into();
                        value["SizeRootFs"] = (own + below).into();
                    }
                    return Ok(value);
                }
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
    let own = serde_json::to_value(&image.config.config).map_err(|error| Error::new(error.to_string()))?;
    let mut config = json!({
        "User": "", "Env": null, "Cmd": null, "Volumes": null, "WorkingDir": "", "Entrypoint": null, "OnBuild": null,
        "Labels": null,
    });
    if let (Some(fields), Value::Object(own)) = (config.as_object_mut(), own) {
        fields.extend(own);
    }
    let size = engine.store.image_size(image)?;
    let layers: Vec<String> = image
        .config
        .rootfs
        .diff_ids
        .iter()
        .rev()
        .map(|layer| engine.store.layer_dir(layer).display().to_string())
        .collect();
    let (upper, lower) = layers.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let comment = image.config.history.last().and_then(|step| step.comment.clone()).unwrap_or_default();
    Ok(json!({
        "Id": image.id(),
        "RepoTags": image.names.iter().map(engine::image::Reference::familiar).collect::<Vec<_>>(),
        "RepoDigests": [],
        "Digest": image.entry.digest,
        "Parent": "",
        "Comment": comment,
        "Created": image.config.created,
        "DockerVersion": "",
        "Author": image.config.author.clone().unwrap_or_default(),
        "Config": config,
        "Architecture": image.config.architecture,
        "Os": image.config.os,
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": { "Name": "overlay2", "Data": { "LowerDir": lower.join(":"), "UpperDir": upper } },
        "RootFS": { "Type": "layers", "Layers": image.config.rootfs.diff_ids },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
        "Layers": image.manifest.layers,
        "History": image.config.history,
    }))
}

pub(super) fn volume_value(engine: &Engine, volume: &engine::volume::Volume) -> Result<Value> {
    Ok(json!({
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": volume.labels,
        "Mountpoint": volume.path,
        "Name": volume.name,
        "Options": {},
        "Scope": "local",
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
            let member = json!({
                "Name": record.name,
                "EndpointID": record.id,
                "MacAddress": engine::network::hardware_address(address),
                "IPv4Address": format!("{address}/24"),
                "IPv6Address": "",
            });
            members.insert(record.id, member);
        }
    }
    Ok(json!({
        "Name": network.name,
        "Id": network.id(),
        "Created": network.created,
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv6": false,
        "IPAM": {
            "Driver": "default",
            "Options": {},
            "Config": [{ "Subnet": network.subnet(), "Gateway": network.gateway() }],
        },
        "Internal": network.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": members,
        "Options": {},
        "Labels": network.labels,
        "Bridge": network.bridge(),
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
    /// Only this port of the container: PORT[/PROTOCOL]
    port: Option<String>,
}

impl Port {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let record = engine.find(&self.container)?;
        engine.running(&record)?;
        let ports = engine.state(&record.id).ports;
        let Some(wanted) = &self.port else {
            for port in ports {
                output::showln!("{}/{} -> {}:{}", port.container, port.protocol, port.address, port.host);
            }
            return Ok(());
        };
        let full = if wanted.contains('/') { wanted.clone() } else { format!("{wanted}/tcp") };
        let fits: Vec<_> =
            ports.iter().filter(|port| format!("{}/{}", port.container, port.protocol) == full).collect();
        if fits.is_empty() {
            return Err(Error::new(format!("no public port '{full}' published for {}", self.container)));
        }
        fits.iter().for_each(|port| output::showln!("{}:{}", port.address, port.host));
        Ok(())
    }
}
