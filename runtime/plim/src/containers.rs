//! Commands on containers that are there: `ps`, `logs`, `stop`, `kill`, `rm`, `wait`, `pause`, `unpause`.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use runtime::process::signal::Signal;

use super::listing::{Listing, Row};
use super::shared::{each, show_age};
use engine::containers::{self, Attach, Engine, Follow, Phase, Record, Stream, read_log};
use runtime::error::{Doing, Error, Result};

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
            output::showln!("{}", engine.wait(&record, None)?.unwrap_or(0));
            Ok(())
        })
    }

    pub(super) fn pause(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            engine.running(&engine.find(name)?)?.pause()?;
            output::showln!("{name}");
            Ok(())
        })
    }

    pub(super) fn unpause(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            engine.running(&engine.find(name)?)?.resume()?;
            output::showln!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Ps {
    /// Those that do not run, too
    #[arg(long, short)]
    all: bool,
    /// Ids alone
    #[arg(long, short)]
    quiet: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Only some: name=, id=, status=, label=, ancestor=
    #[arg(long, short, value_name = "FILTER")]
    filter: Vec<String>,
    /// json, or a template for each such as '{{.Names}} {{.Status}}', or 'table {{.Names}}\\t{{.Status}}'
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

/// What a template of `ps` may use.
const FIELDS: &[(&str, &str)] = &[
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];

impl Ps {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let mut rows = Vec::new();
        let by_status = self.filter.iter().any(|filter| filter.starts_with("status="));
        for record in engine.containers()? {
            let phase = engine.phase(&record.id);
            let shown = self.all || by_status || matches!(phase, Phase::Running | Phase::Paused);
            if record.build || !shown || !self.fits(&record, phase)? {
                continue;
            }
            if self.quiet {
                output::showln!("{}", if self.no_trunc { &record.id } else { &record.id[..12] });
                continue;
            }
            rows.push(self.row(engine, &record, phase)?);
        }
        if self.quiet {
            return Ok(());
        }
        let columns = vec!["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
        Listing { fields: FIELDS, columns }.print(&rows, self.format.as_deref())
    }

    fn row(&self, engine: &Engine, record: &Record, phase: Phase) -> Result<Row> {
        let state = engine.state(&record.id);
        let status = match phase {
            Phase::Created => "Created".to_owned(),
            Phase::Running => {
                format!("Up {}", show_age(state.started.as_deref().unwrap_or("")).replace(" ago", ""))
            }
            Phase::Paused => {
                format!(
                    "Up {} (Paused)",
                    show_age(state.started.as_deref().unwrap_or("")).replace(" ago", "")
                )
            }
            Phase::Exited => format!(
                "Exited ({}) {}",
                state.exit_code.unwrap_or(0),
                show_age(state.finished.as_deref().unwrap_or(""))
            ),
            Phase::Dead => "Dead".to_owned(),
        };
        let value = containers::inspect(engine, record)?;
        let mut words: Vec<&str> = value["Path"].as_str().into_iter().collect();
        words.extend(value["Args"].as_array().into_iter().flatten().filter_map(|word| word.as_str()));
        let mut command = words.join(" ");
        if !self.no_trunc && command.chars().count() > 20 {
            command = command.chars().take(19).chain(['…']).collect();
        }
        let ports: Vec<String> = state
            .ports
            .iter()
            .filter(|_| matches!(phase, Phase::Running | Phase::Paused))
            .map(|port| format!("{}:{}->{}/{}", port.address, port.host, port.container, port.protocol))
            .collect();
        let id = if self.no_trunc { &record.id } else { &record.id[..12] };
        let labels: Vec<String> =
            record.config.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mounts: Vec<String> = record
            .mounts
            .iter()
            .map(|mount| mount.name.clone().unwrap_or_else(|| mount.source.display().to_string()))
            .collect();
        let fields = [
            ("Command", format!("\"{command}\"")),
            ("CreatedAt", record.created.clone()),
            ("ID", id.to_owned()),
            ("Image", record.image.clone()),
            ("Labels", labels.join(",")),
            ("Mounts", mounts.join(",")),
            ("Names", record.name.clone()),
            ("Networks", record.host.network.clone()),
            ("Ports", ports.join(", ")),
            ("RunningFor", show_age(&record.created)),
            ("State", phase.to_string()),
            ("Status", status),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }

    fn fits(&self, record: &Record, phase: Phase) -> Result<bool> {
        for filter in &self.filter {
            let (key, value) = filter
                .split_once('=')
                .ok_or_else(|| Error::new(format!("--filter {filter}: it looks like KEY=VALUE")))?;
            let fits = match key {
                "name" => record.name.contains(value),
                "id" => record.id.starts_with(value),
                "status" => phase.to_string() == value,
                "ancestor" => record.image == value || record.image_id.hex().starts_with(value),
                "label" => {
                    let (key, wanted) =
                        value.split_once('=').map_or((value, None), |(key, value)| (key, Some(value)));
                    record
                        .config
                        .labels
                        .get(key)
                        .is_some_and(|found| wanted.is_none_or(|wanted| found == wanted))
                }
                other => {
                    return Err(Error::new(format!("--filter {other} is unknown"))
                        .remedy("name, id, status, ancestor and label are known"));
                }
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Wait for more while it runs
    #[arg(long, short)]
    follow: bool,
    /// Only so many of the last lines, or all
    #[arg(long, short = 'n', value_name = "NUMBER", default_value = "all")]
    tail: String,
    /// The time before each line
    #[arg(long, short)]
    timestamps: bool,
    /// Name or id
    container: String,
}

impl Logs {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let record = engine.find(&self.container)?;
        let tail = match self.tail.as_str() {
            "all" => None,
            number => Some(
                number.parse().map_err(|_| Error::new(format!("--tail {number}: it is a number, or all")))?,
            ),
        };
        let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
        let mut written = Ok(());
        read_log(engine, &record, Follow { follow: self.follow, tail }, |line| {
            let to: &mut dyn Write = if line.stream == Stream::Stdout { &mut out } else { &mut err };
            let time = if self.timestamps { format!("{} ", line.time) } else { String::new() };
            written = to
                .write_all(time.as_bytes())
                .and_then(|()| to.write_all(&line.bytes))
                .and_then(|()| to.flush());
            written.is_ok()
        })?;
        written.doing(|| "writing the log")
    }
}

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// Seconds until they are killed; by default those of the container, or 10
    #[arg(long, short, value_name = "SECONDS", visible_alias = "timeout")]
    time: Option<u64>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Stop {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            self.stop(engine, &engine.find(name)?)?;
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
        engine.stop(record, Duration::from_secs(self.time.unwrap_or_else(|| record.grace()))).map(drop)
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
            engine.running(&record)?.kill(signal, false)?;
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
