//! `plim inspect`, `diff`, `port`

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::documents::{ImageDocument, NetworkDocument, VolumeDocument};
use super::template;
use engine::containers::{self, Engine, Record};
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
pub(super) fn print<T: Serialize>(
    names: &[String],
    format: Option<&str>,
    look: impl Fn(&str) -> Result<T>,
) -> Result<()> {
    let mut all = Vec::new();
    let found = super::shared::each(names, |name| {
        all.push(template::document(&look(name)?)?);
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
        print(&self.names, self.format.as_deref(), |name| self.one(engine, name))
    }

    fn one(&self, engine: &Engine, name: &str) -> Result<Value> {
        let may_be = |kind| self.kind.is_none_or(|wanted| wanted == kind);
        if may_be(Kind::Container) {
            match engine.find(name) {
                Ok(record) => return template::document(&self.container(engine, &record)?),
                Err(error) if self.kind.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        if may_be(Kind::Image) {
            match engine.store.find(name) {
                Ok(image) => return template::document(&ImageDocument::of(engine, &image)?),
                Err(error) if self.kind.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        if may_be(Kind::Volume) {
            match engine.volumes.find(name) {
                Ok(volume) => return template::document(&VolumeDocument::of(engine, &volume)?),
                Err(error) if self.kind.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        if may_be(Kind::Network) {
            match engine.networks.find(name) {
                Ok(network) => return template::document(&NetworkDocument::of(engine, &network)?),
                Err(error) if self.kind.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        Err(Error::new(format!("there is no container, image, volume or network '{name}'")))
    }

    fn container<'a>(&self, engine: &Engine, record: &'a Record) -> Result<containers::Inspect<'a>> {
        let document = containers::inspect(engine, record)?;
        if !self.size {
            return Ok(document);
        }
        let own = super::system::file_bytes(&engine.upper(record));
        let image = engine.store.find(record.image_id.as_str());
        let below = image.and_then(|image| engine.store.image_size(&image)).unwrap_or(0);
        Ok(document.with_sizes(own, below))
    }
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
