//! `plim volume`

use clap::Subcommand;

use super::documents::VolumeDocument;
use super::listing::{Listing, Row};
use super::shared::each;
use super::template;
use engine::containers::Engine;
use runtime::error::{Error, Result};

#[derive(Debug, Subcommand)]
pub(super) enum Volume {
    /// Make a volume and print its name
    Create {
        /// Its name; absent means one is made up
        name: Option<String>,
        /// The same
        #[arg(long = "name", value_name = "NAME", hide = true, conflicts_with = "name")]
        also_name: Option<String>,
        /// local
        #[arg(long, short, value_name = "DRIVER", default_value = "local")]
        driver: String,
        /// Free-form data, as KEY=VALUE
        #[arg(long, value_name = "LABEL")]
        label: Vec<String>,
    },
    /// List volumes
    #[command(visible_alias = "list")]
    Ls {
        /// Names alone
        #[arg(long, short)]
        quiet: bool,
        /// json, or a template for each such as '{{.Name}}', or 'table {{.Name}}\\t{{.Driver}}'
        #[arg(long, value_name = "TEMPLATE")]
        format: Option<String>,
        /// Only some: dangling=true|false, driver=, label=, name=
        #[arg(long, short, value_name = "FILTER")]
        filter: Vec<String>,
    },
    /// Print all that is known of volumes
    Inspect {
        /// Template for each, such as '{{.Mountpoint}}'
        #[arg(long, short, value_name = "TEMPLATE")]
        format: Option<String>,
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm {
        /// Do not mind those that are not there
        #[arg(long, short)]
        force: bool,
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove volumes that no container uses
    Prune {
        /// Named ones, too
        #[arg(long, short)]
        all: bool,
        /// Do not ask
        #[arg(long, short)]
        force: bool,
    },
}

/// What a template of `volume ls` may use.
const FIELDS: &[(&str, &str)] = &[
    ("Driver", "DRIVER"),
    ("Labels", "LABELS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
];

fn row(volume: &engine::volume::Volume) -> Row {
    let fields = [
        ("Driver", "local".to_owned()),
        ("Labels", super::shared::joined(&volume.labels)),
        ("Mountpoint", volume.path.display().to_string()),
        ("Name", volume.name.clone()),
        ("Scope", "local".to_owned()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn fits(engine: &Engine, volume: &engine::volume::Volume, filters: &[String]) -> Result<bool> {
    for filter in filters {
        let (key, value) = super::shared::filter(filter)?;
        let fits = match key {
            "dangling" => {
                engine.users_of_volume(&volume.name)?.is_empty() == super::shared::truth(filter, value)?
            }
            "driver" => value == "local",
            "label" => super::shared::has_label(&volume.labels, value),
            "name" => volume.name.contains(value),
            _ => {
                return Err(Error::new(format!("unknown filter '{key}'"))
                    .remedy("volumes have dangling, driver, label and name"));
            }
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

fn create(engine: &Engine, name: Option<&String>, driver: &str, label: &[String]) -> Result<()> {
    if driver != "local" {
        return Err(Error::new(format!("--driver {driver}: it is not supported")).remedy("local is"));
    }
    let anonymous = name.is_none();
    let name = name.cloned().unwrap_or_else(engine::containers::new_id);
    let is_new = engine.volumes.find(&name).is_err();
    let volume = engine.volumes.ensure_with(&name, anonymous, super::shared::labels(label))?;
    if is_new {
        engine.tell_of("volume", "create", &volume.name, Default::default());
    }
    output::showln!("{}", volume.name);
    Ok(())
}

impl Volume {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let volumes = &engine.volumes;
        match self {
            Self::Create { name, also_name, driver, label } => {
                create(engine, name.as_ref().or(also_name.as_ref()), driver, label)?;
            }
            Self::Ls { quiet, format, filter } => {
                let mut all = Vec::new();
                for volume in volumes.list()? {
                    if fits(engine, &volume, filter)? {
                        all.push(volume);
                    }
                }
                if *quiet {
                    all.iter().for_each(|volume| output::showln!("{}", volume.name));
                    return Ok(());
                }
                let rows: Vec<Row> = all.iter().map(row).collect();
                Listing { fields: FIELDS, columns: vec!["Driver", "Name"] }
                    .print(&rows, format.as_deref())?;
            }
            Self::Inspect { format, names } => {
                super::inspect::print(names, format.as_deref(), |name| {
                    template::document(&VolumeDocument::of(engine, &volumes.find(name)?)?)
                })?;
            }
            Self::Rm { force, names } => each(names, |name| {
                if *force && volumes.find(name).is_err() {
                    return Ok(());
                }
                engine.remove_volume(name)?;
                engine.tell_of("volume", "destroy", name, Default::default());
                output::showln!("{name}");
                Ok(())
            })?,
            Self::Prune { all, force } => {
                super::system::confirm(*force, "remove all volumes that no container uses")?;
                engine.refuse_unknown_uses()?;
                for volume in volumes.list()? {
                    let is_unused =
                        (*all || volume.anonymous) && engine.users_of_volume(&volume.name)?.is_empty();
                    // Somebody may have begun to use it since.
                    if is_unused && engine.remove_volume(&volume.name).is_ok() {
                        output::showln!("{}", volume.name);
                    }
                }
            }
        }
        Ok(())
    }
}
