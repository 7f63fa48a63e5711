//! `plim update`.

use clap::Args;

use super::run::Limits;
use super::shared::each;
use engine::containers::{Engine, Restart};
use runtime::error::{Error, Result};
use runtime::oci::Resources;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Update {
    /// Print help
    #[arg(long, short, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    limits: Limits,
    /// What happens when it has ended: no, on-failure[:NUMBER], always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<Restart>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Update {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let wanted = self.limits.resources()?;
        if let Some(option) = self.limits.fixed() {
            return Err(Error::new(format!("{option} cannot be changed once a container is made")));
        }
        if wanted == Resources::default() && self.restart.is_none() {
            return Err(
                Error::new("nothing is to be changed").remedy("name at least one limit, or --restart")
            );
        }
        each(&self.names, |name| {
            engine.update(&engine.find(name)?, &wanted, self.restart)?;
            output::showln!("{name}");
            Ok(())
        })
    }
}
