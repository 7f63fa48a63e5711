//! `plim volume`

use clap::Subcommand;

use super::inspect::volume_value;
use super::{each, print_json, print_table};
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

impl Volume {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let volumes = &engine.volumes;
        match self {
            Self::Create { name } => {
                let anonymous = name.is_none();
                let name = name.clone().unwrap_or_else(engine::containers::new_id);
                output::outln!("{}", volumes.ensure(&name, anonymous)?.name);
            }
            Self::Ls { quiet } => {
                let all = volumes.list()?;
                if *quiet {
                    all.iter().for_each(|volume| output::outln!("{}", volume.name));
                } else {
                    let row = |volume: &engine::volume::Volume| vec!["local".to_owned(), volume.name.clone()];
                    print_table(&["DRIVER", "VOLUME NAME"], &all.iter().map(row).collect::<Vec<_>>());
                }
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
                output::outln!("{name}");
                Ok(())
            })?,
            Self::Prune { all, force } => {
                super::system::confirm(*force, "remove all volumes that no container uses")?;
                for volume in volumes.list()? {
                    if (*all || volume.anonymous) && engine.users_of_volume(&volume.name)?.is_empty() {
                        engine.remove_volume(&volume.name)?;
                        output::outln!("{}", volume.name);
                    }
                }
            }
        }
        Ok(())
    }
}
