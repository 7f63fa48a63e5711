//! `plim network`

use clap::Subcommand;

use super::inspect::network_value;
use super::{each, print_json, print_table};
use engine::containers::Engine;
use runtime::error::Result;

#[derive(Debug, Subcommand)]
pub(super) enum Network {
    /// Make a network
    Create {
        /// Its name
        name: String,
    },
    /// List networks
    #[command(visible_alias = "list")]
    Ls {
        /// Names alone
        #[arg(long, short)]
        quiet: bool,
    },
    /// Print all that is known of networks
    Inspect {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

impl Network {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let networks = &engine.networks;
        match self {
            Self::Create { name } => output::outln!("{}", networks.create(name)?.name),
            Self::Ls { quiet } => {
                let all = networks
                    .list()?
                    .iter()
                    .map(engine::network::Network::current)
                    .collect::<Result<Vec<_>>>()?;
                if *quiet {
                    all.iter().for_each(|network| output::outln!("{}", network.name));
                } else {
                    let row = |network: &engine::network::Network| {
                        vec![network.name.clone(), "bridge".to_owned(), network.subnet()]
                    };
                    print_table(&["NAME", "DRIVER", "SUBNET"], &all.iter().map(row).collect::<Vec<_>>());
                }
            }
            Self::Inspect { names } => {
                let all = names
                    .iter()
                    .map(|name| network_value(engine, &networks.find(name)?))
                    .collect::<Result<Vec<_>>>()?;
                print_json(&all)?;
            }
            Self::Rm { names } => each(names, |name| {
                networks.remove(name, &engine.users_of_network(name)?)?;
                output::outln!("{name}");
                Ok(())
            })?,
        }
        Ok(())
    }
}
