//! `plim ps`. Source: Docker reference, docker container ls.

use clap::Args;

use super::listing::{Listing, Row};
use super::shared::{show_age, show_bytes};
use engine::containers::{self, Engine, Phase, Record};
use engine::network::publish::Port;
use runtime::error::{Error, Result};

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
    /// Only the newest
    #[arg(long, short)]
    latest: bool,
    /// Only so many of the newest, those that do not run, too
    #[arg(long, short = 'n', value_name = "NUMBER", allow_hyphen_values = true)]
    last: Option<i64>,
    /// What their changes take on the disk
    #[arg(long, short)]
    size: bool,
    /// Only some: name=, id=, status=, exited=, label=, ancestor=, before=, since=, volume=, network=, publish=, expose=, health=
    #[arg(long, short, value_name = "FILTER")]
    filter: Vec<String>,
    /// json, or a template for each such as '{{.Names}} {{.Status}}', or 'table {{.Names}}\t{{.Status}}'
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
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATUS"),
    ("Status", "STATUS"),
];

impl Ps {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let filters = Filters::parse(&self.filter, engine)?;
        let last = if self.latest { Some(1) } else { self.last.filter(|number| *number >= 0) };
        let all = self.all || last.is_some() || filters.asks_for_ended();
        let mut rows = Vec::new();
        for record in engine.containers()? {
            let phase = engine.phase(&record.id);
            if record.build || !(all || phase.is_up()) || !filters.fit(engine, &record, phase)? {
                continue;
            }
            if last.and_then(|last| usize::try_from(last).ok()).is_some_and(|last| rows.len() >= last) {
                break;
            }
            rows.push(self.row(engine, &record, phase)?);
        }
        if self.quiet && self.format.is_none() {
            rows.iter().filter_map(|row| row["ID"].as_str()).for_each(|id| output::showln!("{id}"));
            return Ok(());
        }
        let mut columns = vec!["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
        if self.size {
            columns.push("Size");
        }
        Listing { fields: FIELDS, columns }.print(&rows, self.format.as_deref())
    }

    fn row(&self, engine: &Engine, record: &Record, phase: Phase) -> Result<Row> {
        let document = containers::inspect(engine, record)?;
        let mut command = document.command().collect::<Vec<_>>().join(" ");
        if !self.no_trunc && command.chars().count() > 20 {
            command = command.chars().take(19).chain(['…']).collect();
        }
        let id = if self.no_trunc { &record.id } else { &record.id[..12] };
        let labels: Vec<String> =
            record.config.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let shown = |name: String| {
            if !self.no_trunc && name.chars().count() > 15 {
                name.chars().take(14).chain(['…']).collect()
            } else {
                name
            }
        };
        let mounts: Vec<String> = record
            .mounts
            .iter()
            .map(|mount| mount.name.clone().unwrap_or_else(|| mount.source.display().to_string()))
            .filter(|name| !name.is_empty())
            .map(shown)
            .collect();
        let named = record.mounts.iter().filter(|mount| mount.name.is_some()).count();
        // Looking at every file takes its time, so only who asks for it waits for it.
        let asks = self.size || self.format.as_deref().is_some_and(|format| format.contains(".Size"));
        let size = if asks { size(engine, record)? } else { "0B".to_owned() };
        let network = if record.host.network.starts_with("container:") { "" } else { &record.host.network };
        let fields = [
            ("Command", format!("\"{command}\"")),
            ("CreatedAt", record.created.clone()),
            ("ID", id.to_owned()),
            ("Image", record.image.clone()),
            ("Labels", labels.join(",")),
            ("LocalVolumes", named.to_string()),
            ("Mounts", mounts.join(",")),
            ("Names", record.name.clone()),
            ("Networks", network.to_owned()),
            ("Ports", document.ports().join(", ")),
            ("RunningFor", show_age(&record.created)),
            ("Size", size),
            ("State", phase.to_string()),
            ("Status", status(engine, record, phase)),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

fn status(engine: &Engine, record: &Record, phase: Phase) -> String {
    let state = engine.state(&record.id);
    let since = |time: &Option<String>| show_age(time.as_deref().unwrap_or(""));
    let up = || format!("Up {}", since(&state.started).replace(" ago", ""));
    let ended = |word: &str| format!("{word} ({}) {}", state.exit_code.unwrap_or(0), since(&state.finished));
    match phase {
        Phase::Created => "Created".to_owned(),
        Phase::Running => match engine.health(record).map(|health| health.status) {
            Some(health) if health == "starting" => format!("{} (health: starting)", up()),
            Some(health) => format!("{} ({health})", up()),
            None => up(),
        },
        Phase::Paused => format!("{} (Paused)", up()),
        Phase::Restarting => ended("Restarting"),
        Phase::Exited => ended("Exited"),
        Phase::Dead => "Dead".to_owned(),
    }
}

/// What a container has changed, and that together with its image.
fn size(engine: &Engine, record: &Record) -> Result<String> {
    let own = super::system::file_bytes(&engine.upper(record));
    let image = engine.store.find(record.image_id.as_str()).ok();
    let below = image.map(|image| engine.store.image_size(&image)).transpose()?.unwrap_or(0);
    Ok(format!("{} (virtual {})", show_bytes(own), show_bytes(own + below)))
}

/// `--filter`: values of one key are alternatives, but those of `label` hold together.
struct Filters(Vec<(String, Vec<String>)>);

/// A filter's value as it is compared.
fn checked(engine: &Engine, text: &str, key: &str, value: &str) -> Result<String> {
    let bad = || Error::new(format!("invalid filter '{text}'"));
    Ok(match key {
        "before" | "since" => engine.find(value)?.created,
        "exited" => value.parse::<i32>().map_err(|_| bad())?.to_string(),
        "status" => match value {
            "created" | "restarting" | "running" | "paused" | "exited" | "dead" | "removing" => {
                value.to_owned()
            }
            _ => {
                return Err(
                    bad().remedy("status is created, restarting, running, removing, paused, exited or dead")
                );
            }
        },
        "health" => match value {
            "starting" | "healthy" | "unhealthy" | "none" => value.to_owned(),
            _ => return Err(bad().remedy("health is starting, healthy, unhealthy or none")),
        },
        "network" => engine.networks.find(value).map_or_else(|_| value.to_owned(), |found| found.name),
        "publish" | "expose" => {
            Port::parse(value).map_err(|_| bad())?;
            value.to_owned()
        }
        "is-task" => match value {
            "true" | "1" | "false" | "0" => value.to_owned(),
            _ => return Err(bad().remedy("is-task is true or false")),
        },
        "name" | "id" | "ancestor" | "label" | "volume" => value.to_owned(),
        _ => {
            return Err(Error::new(format!("unknown filter '{key}'")).remedy(
                "containers have name, id, status, exited, label, ancestor, before, since, volume, network, \
                 publish, expose, health and is-task",
            ));
        }
    })
}

impl Filters {
    fn parse(texts: &[String], engine: &Engine) -> Result<Self> {
        let mut all: Vec<(String, Vec<String>)> = Vec::new();
        for text in texts {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                Error::new(format!("invalid filter '{text}'")).remedy("filters look like KEY=VALUE")
            })?;
            let value = checked(engine, text, key, value)?;
            match all.iter_mut().find(|(known, _)| known == key) {
                Some((_, values)) => values.push(value),
                None => all.push((key.to_owned(), vec![value])),
            }
        }
        Ok(Self(all))
    }

    /// Whether they name what has ended, which is then looked for without `-a`.
    fn asks_for_ended(&self) -> bool {
        self.0.iter().any(|(key, _)| matches!(key.as_str(), "status" | "exited" | "before" | "since"))
    }

    fn fit(&self, engine: &Engine, record: &Record, phase: Phase) -> Result<bool> {
        for (key, values) in &self.0 {
            let one = |value: &String| fits(engine, record, phase, key, value);
            let fits = if key == "label" {
                values.iter().map(one).collect::<Result<Vec<_>>>()?.into_iter().all(|fits| fits)
            } else {
                values.iter().map(one).collect::<Result<Vec<_>>>()?.into_iter().any(|fits| fits)
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn fits(engine: &Engine, record: &Record, phase: Phase, key: &str, value: &str) -> Result<bool> {
    Ok(match key {
        "name" => {
            let (start, rest) = value.strip_prefix('^').map_or((false, value), |rest| (true, rest));
            let (end, part) = rest.strip_suffix('$').map_or((false, rest), |part| (true, part));
            let part = part.trim_start_matches('/');
            match (start, end) {
                (true, true) => record.name == part,
                (true, false) => record.name.starts_with(part),
                (false, true) => record.name.ends_with(part),
                (false, false) => record.name.contains(part),
            }
        }
        "id" => record.id.starts_with(value),
        "status" => phase.to_string() == value,
        "exited" => {
            phase == Phase::Exited && engine.state(&record.id).exit_code.unwrap_or(0).to_string() == value
        }
        "before" => record.created.as_str() < value,
        "since" => record.created.as_str() > value,
        "ancestor" => {
            record.image == value
                || record.image_id.hex().starts_with(value.trim_start_matches("sha256:"))
                || engine
                    .store
                    .find(value)
                    .is_ok_and(|image| record.layers.starts_with(&image.config.rootfs.diff_ids))
        }
        "label" => {
            let (name, wanted) =
                value.split_once('=').map_or((value, None), |(name, value)| (name, Some(value)));
            record.config.labels.get(name).is_some_and(|found| wanted.is_none_or(|wanted| found == wanted))
        }
        "volume" => record
            .mounts
            .iter()
            .any(|mount| mount.name.as_deref() == Some(value) || mount.destination.to_str() == Some(value)),
        "network" => record.host.network == value,
        "publish" | "expose" => {
            let wanted = Port::parse(value)?;
            let is_meant = |port: &Port| {
                wanted.iter().any(|one| (one.container, one.protocol) == (port.container, port.protocol))
            };
            let exposed = |text: &String| Port::parse(text).is_ok_and(|ports| ports.iter().any(is_meant));
            record.host.ports.iter().any(is_meant)
                || (key == "expose" && record.config.exposed_ports.keys().any(exposed))
        }
        "health" => engine.health(record).map_or("none".to_owned(), |health| health.status) == value,
        // There are no tasks of a swarm.
        _ => matches!(value, "false" | "0"),
    })
}
