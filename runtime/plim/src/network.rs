//! `plim network`

use clap::Subcommand;

use super::inspect::network_value;
use super::listing::{Listing, Row};
use super::shared::{each, print_json};
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
        /// json, or a template for each such as '{{.Name}}', or 'table {{.Name}}\\t{{.Driver}}'
        #[arg(long, value_name = "TEMPLATE")]
        format: Option<String>,
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

/// What a template of `network ls` may use.
const FIELDS: &[(&str, &str)] = &[
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
    ("Subnet", "SUBNET"),
];

fn row(network: &engine::network::Network) -> Row {
    let fields = [
        ("CreatedAt", network.created.clone()),
        ("Driver", "bridge".to_owned()),
        ("Name", network.name.clone()),
        ("Scope", "local".to_owned()),
        ("Subnet", network.subnet()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

impl Network {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let networks = &engine.networks;
        match self {
            Self::Create { name } => output::showln!("{}", networks.create(name)?.name),
            Self::Ls { quiet, format } => {
                let all = networks.list()?;
                if *quiet {
                    all.iter().for_each(|network| output::showln!("{}", network.name));
                    return Ok(());
                }
                let rows =
                    all.iter().map(|network| Ok(row(&network.current()?))).collect::<Result<Vec<Row>>>()?;
                let columns = vec!["Name", "Driver", "Subnet"];
                Listing { fields: FIELDS, columns }.print(&rows, format.as_deref())?;
            }
            Self::Inspect { names } => {
                let all = names
                    .iter()
                    .map(|name| network_value(engine, &networks.find(name)?))
                    .collect::<Result<Vec<_>>>()?;
                print_json(&all)?;
            }
            Self::Rm { names } => each(names, |name| {
                engine.remove_network(name)?;
                output::showln!("{name}");
                Ok(())
            })?,
        }
        Ok(())
    }
}
