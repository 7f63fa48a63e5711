//! `plim network`

use clap::Subcommand;

use super::documents::NetworkDocument;
use super::listing::{Listing, Row};
use super::shared::each;
use engine::containers::Engine;
use runtime::error::{Error, Result};

#[derive(Debug, Subcommand)]
pub(super) enum Network {
    /// Make a network
    Create {
        /// bridge
        #[arg(long, short, value_name = "DRIVER", default_value = "bridge")]
        driver: String,
        /// Without a way out of this machine
        #[arg(long)]
        internal: bool,
        /// Containers may join it by name, as they may anyway
        #[arg(long)]
        attachable: bool,
        /// Free-form data, as KEY=VALUE
        #[arg(long, value_name = "LABEL")]
        label: Vec<String>,
        /// Its name
        name: String,
    },
    /// List networks
    #[command(visible_alias = "list")]
    Ls {
        /// Ids alone
        #[arg(long, short)]
        quiet: bool,
        /// json, or a template for each such as '{{.Name}}', or 'table {{.Name}}\\t{{.Driver}}'
        #[arg(long, value_name = "TEMPLATE")]
        format: Option<String>,
        /// Whole ids
        #[arg(long)]
        no_trunc: bool,
        /// Only some: dangling=true|false, driver=, id=, label=, name=, scope=, type=custom|builtin
        #[arg(long, short, value_name = "FILTER")]
        filter: Vec<String>,
    },
    /// Print all that is known of networks
    Inspect {
        /// Template for each, such as '{{.Id}}'
        #[arg(long, short, value_name = "TEMPLATE")]
        format: Option<String>,
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm {
        /// Do not mind those that are not there
        #[arg(long, short)]
        force: bool,
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove networks that no container is on
    Prune {
        /// Do not ask
        #[arg(long, short)]
        force: bool,
    },
}

/// What a template of `network ls` may use.
const FIELDS: &[(&str, &str)] = &[
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("Internal", "INTERNAL"),
    ("IPv6", "IPV6"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
    ("Subnet", "SUBNET"),
];

fn row(network: &engine::network::Network, no_trunc: bool) -> Row {
    let id = network.id();
    let fields = [
        ("CreatedAt", network.created.clone()),
        ("Driver", network.driver().to_owned()),
        ("ID", if no_trunc { id } else { id[..12].to_owned() }),
        ("Internal", network.internal.to_string()),
        ("IPv6", "false".to_owned()),
        ("Labels", super::shared::joined(&network.labels)),
        ("Name", network.name.clone()),
        ("Scope", "local".to_owned()),
        ("Subnet", if network.driver() == "bridge" { network.subnet() } else { String::new() }),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn fits(engine: &Engine, network: &engine::network::Network, filters: &[String]) -> Result<bool> {
    let is_custom = network.driver() == "bridge" && network.has_names();
    for filter in filters {
        let (key, value) = super::shared::filter(filter)?;
        let fits = match key {
            "dangling" => {
                (is_custom && engine.users_of_network(&network.name)?.is_empty())
                    == super::shared::truth(filter, value)?
            }
            "driver" => network.driver() == value,
            "id" => network.id().starts_with(value),
            "label" => super::shared::has_label(&network.labels, value),
            "name" => network.name.contains(value),
            "scope" => value == "local",
            "type" => match value {
                "custom" => is_custom,
                "builtin" => !is_custom,
                _ => {
                    return Err(
                        Error::new(format!("invalid filter '{filter}'")).remedy("type is custom or builtin")
                    );
                }
            },
            _ => {
                return Err(Error::new(format!("unknown filter '{key}'"))
                    .remedy("networks have dangling, driver, id, label, name, scope and type"));
            }
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Network {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let networks = &engine.networks;
        match self {
            Self::Create { driver, internal, attachable: _, label, name } => {
                if driver != "bridge" {
                    return Err(Error::new(format!("--driver {driver}: it is not supported"))
                        .remedy("bridge is; `plim run --network host` and none need no network"));
                }
                let network = networks.create_with(name, *internal, super::shared::labels(label))?;
                engine.tell_of("network", "create", &network.id(), named(name));
                output::showln!("{}", network.id());
            }
            Self::Ls { quiet, format, no_trunc, filter } => {
                list(engine, *quiet, format.as_deref(), *no_trunc, filter)?;
            }
            Self::Inspect { format, names } => {
                super::inspect::print(names, format.as_deref(), |name| {
                    NetworkDocument::of(engine, &networks.find(name)?)
                })?;
            }
            Self::Rm { force, names } => each(names, |name| {
                if *force && networks.find(name).is_err() {
                    return Ok(());
                }
                remove(engine, name)?;
                output::showln!("{name}");
                Ok(())
            })?,
            Self::Prune { force } => {
                super::system::confirm(*force, "remove all networks that no container is on")?;
                for network in networks.list()? {
                    let is_unused = network.has_names() && engine.users_of_network(&network.name)?.is_empty();
                    // Somebody may have begun to use it since.
                    if is_unused && remove(engine, &network.name).is_ok() {
                        output::showln!("{}", network.name);
                    }
                }
            }
        }
        Ok(())
    }
}

fn list(
    engine: &Engine,
    quiet: bool,
    format: Option<&str>,
    no_trunc: bool,
    filters: &[String],
) -> Result<()> {
    let mut rows = Vec::new();
    for network in engine.networks.with_builtin()? {
        if fits(engine, &network, filters)? {
            rows.push(row(&network.current()?, no_trunc));
        }
    }
    if quiet && format.is_none() {
        rows.iter().filter_map(|row| row["ID"].as_str()).for_each(|id| output::showln!("{id}"));
        return Ok(());
    }
    Listing { fields: FIELDS, columns: vec!["ID", "Name", "Driver", "Scope"] }.print(&rows, format)
}

fn remove(engine: &Engine, name: &str) -> Result<()> {
    let network = engine.networks.find(name)?;
    engine.remove_network(&network.name)?;
    engine.tell_of("network", "destroy", &network.id(), named(&network.name));
    Ok(())
}

fn named(name: &str) -> std::collections::BTreeMap<String, String> {
    [("name".to_owned(), name.to_owned()), ("type".to_owned(), "bridge".to_owned())].into()
}
