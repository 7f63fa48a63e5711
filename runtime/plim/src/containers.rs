//! Commands on containers that are there: `stop`, `restart`, `kill`, `rm`, `rename`, `wait`, `pause`, `unpause`.

use std::time::Duration;

use clap::Args;
use runtime::process::signal::Signal;

use super::shared::each;
use engine::containers::{self, Attach, Engine, Phase, Record};
use runtime::error::Result;

#[derive(Debug, Args)]
pub(super) struct Names {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Names {
    pub(super) fn wait(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            let record = engine.find(name)?;
            output::showln!("{}", engine.wait_run(&record)?);
            Ok(())
        })
    }

    pub(super) fn pause(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            let record = engine.find(name)?;
            engine.running(&record)?.pause()?;
            engine.tell(&record, "pause", &[]);
            output::showln!("{name}");
            Ok(())
        })
    }

    pub(super) fn unpause(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            let record = engine.find(name)?;
            engine.running(&record)?.resume()?;
            engine.tell(&record, "unpause", &[]);
            output::showln!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// Seconds until they are killed; by default those of the container, or 10
    #[arg(long, short, value_name = "SECONDS", visible_alias = "timeout", allow_hyphen_values = true)]
    time: Option<i64>,
    /// Signal that asks them to end, instead of theirs
    #[arg(long, short, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Stop {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            let record = engine.find(name)?;
            self.stop(engine, &record)?;
            output::showln!("{name}");
            Ok(())
        })
    }

    pub(super) fn restart(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            let record = engine.find(name)?;
            let _claim = engine.claim(&record)?;
            self.stop(engine, &record)?;
            engine.start(&record, Attach::default()).map_err(|(error, _)| error)?;
            output::showln!("{name}");
            Ok(())
        })
    }

    fn stop(&self, engine: &Engine, record: &Record) -> Result<()> {
        let mut record = record.clone();
        if let Some(signal) = &self.signal {
            containers::parse_signal(signal)?;
            record.config.stop_signal = Some(signal.clone());
        }
        let grace = match self.time {
            None => Duration::from_secs(record.grace()),
            // Docker's word for however long it takes.
            Some(seconds) => u64::try_from(seconds).map_or(Duration::MAX, Duration::from_secs),
        };
        engine.stop(&record, grace).map(drop)
    }
}

#[derive(Debug, Args)]
pub(super) struct Kill {
    /// By name or number
    #[arg(long, short, default_value = "KILL")]
    signal: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Kill {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let signal = containers::parse_signal(&self.signal)?;
        each(&self.names, |name| {
            let record = engine.find(name)?;
            if engine.phase(&record.id) == Phase::Restarting {
                engine.by_hand(&record);
                engine.wait(&record, None)?;
                output::showln!("{name}");
                return Ok(());
            }
            let container = engine.running(&record)?;
            if signal == Signal::KILL {
                engine.by_hand(&record);
            }
            container.kill(signal, false)?;
            engine.tell(&record, "kill", &[("signal", signal.number().to_string())]);
            if signal == Signal::KILL {
                engine.wait(&record, None)?;
            }
            output::showln!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Rm {
    /// Kill those that run
    #[arg(long, short)]
    force: bool,
    /// Their unnamed volumes, too
    #[arg(long, short)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Rm {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            let record = match engine.find(name) {
                Err(_) if self.force => {
                    // What is not there need not be removed, if one insists.
                    if engine.remove_damaged(name)? {
                        output::showln!("{name}");
                    }
                    return Ok(());
                }
                record => record?,
            };
            engine.remove(&record, self.force, self.volumes)?;
            output::showln!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Rename {
    /// Name or id
    container: String,
    /// The new name
    name: String,
}

impl Rename {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        engine.rename(&engine.find(&self.container)?, &self.name)
    }
}
