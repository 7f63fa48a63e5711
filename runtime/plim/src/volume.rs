//! `plim volume`

use clap::Subcommand;

use super::inspect::volume_value;
use super::listing::{Listing, Row};
use super::shared::{each, print_json};
use engine::containers::Engine;
use runtime::error::Result;

#[derive(Debug, Subcommand)]
pub(super) enum Volume {
    /// Make a volume and print its name
    Create {
        /// Its name; absent means one is made up
        name: Option<String>,
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
    },
    /// Print all that is known of volumes
    Inspect {
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
const FIELDS: &[(&str, &str)] =
    &[("Driver", "DRIVER"), ("Mountpoint", "MOUNTPOINT"), ("Name", "VOLUME NAME"), ("Scope", "SCOPE")];

fn row(volume: &engine::volume::Volume) -> Row {
    let fields = [
        ("Driver", "local".to_owned()),
        ("Mountpoint", volume.path.display().to_string()),
        ("Name", volume.name.clone()),
        ("Scope", "local".to_owned()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

impl Volume {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let volumes = &engine.volumes;
        match self {
            Self::Create { name } => {
                let anonymous = name.is_none();
                let name = name.clone().unwrap_or_else(engine::containers::new_id);
                output::showln!("{}", volumes.ensure(&name, anonymous)?.name);
            }
            Self::Ls { quiet, format } => {
                let all = volumes.list()?;
                if *quiet {
                    all.iter().for_each(|volume| output::showln!("{}", volume.name));
                    return Ok(());
                }
                let rows: Vec<Row> = all.iter().map(row).collect();
                Listing { fields: FIELDS, columns: vec!["Driver", "Name"] }
                    .print(&rows, format.as_deref())?;
            }
            Self::Inspect { names } => {
                let all = names
                    .iter()
                    .map(|name| volume_value(engine, &volumes.find(name)?))
                    .collect::<Result<Vec<_>>>()?;
                print_json(&all)?;
            }
            Self::Rm { force, names } => each(names, |name| {
                if *force && volumes.find(name).is_err() {
                    return Ok(());
                }
                engine.remove_volume(name)?;
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
