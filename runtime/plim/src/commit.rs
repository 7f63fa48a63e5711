//! `plim commit`

use clap::Args;

use engine::builder;
use engine::containers::{self, Engine};
use runtime::error::Result;

#[derive(Debug, Args)]
pub(super) struct Commit {
    /// Who made it
    #[arg(long, short)]
    author: Option<String>,
    /// What was done
    #[arg(long, short)]
    message: Option<String>,
    /// Change the configuration by an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL
    #[arg(long, short, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// false: let it run on meanwhile
    #[arg(long, short, action = clap::ArgAction::Set, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pause: bool,
    /// Name or id
    container: String,
    /// Name of the image, as REPOSITORY[:TAG]
    image: Option<String>,
}

impl Commit {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let record = engine.find(&self.container)?;
        let name = self.image.as_deref().map(str::parse).transpose()?;
        let mut config = record.config.clone();
        builder::change(&mut config, &self.change)?;
        let commit = containers::Commit {
            name,
            author: self.author.clone(),
            message: self.message.clone(),
            config: Some(config),
            running: !self.pause,
        };
        output::showln!("{}", engine.commit(&record, commit)?.id());
        Ok(())
    }
}
