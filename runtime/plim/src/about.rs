//! `plim version`, `info` and `events`.

use clap::Args;
use serde_json::{Value, json};

use super::{template, time};
use engine::containers::{Engine, Phase};
use engine::events::Event;
use runtime::cgroup::Layout;
use runtime::error::{Error, Result};

/// The version of Docker's interface that the commands follow.
const API: &str = "1.45";

#[derive(Debug, Args)]
pub(super) struct Version {
    /// json, or a template such as '{{.Server.Version}}'
    #[arg(long, short, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Version {
    pub(super) fn run(&self) -> Result<()> {
        let uname = rustix::system::uname();
        let part = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "ApiVersion": API,
            "Os": "linux",
            "Arch": engine::image::architecture(),
            "KernelVersion": uname.release().to_string_lossy(),
        });
        let value = json!({ "Client": part, "Server": part });
        if let Some(format) = &self.format {
            return show(format, &value);
        }
        output::showln!("plim:");
        output::showln!(" Version:       {}", env!("CARGO_PKG_VERSION"));
        output::showln!(" API version:   {API} (that of the commands; there is no daemon)");
        output::showln!(" OS/Arch:       linux/{}", engine::image::architecture());
        output::showln!(" Kernel:        {}", uname.release().to_string_lossy());
        Ok(())
    }
}

fn show(format: &str, value: &Value) -> Result<()> {
    if format == "json" {
        output::document(&value.to_string());
    } else {
        output::value(&template::fill(format, value)?);
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct Info {
    /// json, or a template such as '{{.Driver}}'
    #[arg(long, short, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Info {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let layout = Layout::detect()?;
        let uname = rustix::system::uname();
        let containers: Vec<_> = engine.containers()?.into_iter().filter(|record| !record.build).collect();
        let count = |phase| containers.iter().filter(|record| engine.phase(&record.id) == phase).count();
        let (running, paused) = (count(Phase::Running) + count(Phase::Restarting), count(Phase::Paused));
        use procfs::Current;
        let memory = procfs::Meminfo::current().map_or(0, |memory| memory.mem_total);
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let value = json!({
            "Containers": containers.len(),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": containers.len() - running - paused,
            "Images": engine.store.images()?.len(),
            "Driver": "overlay2",
            "LoggingDriver": "json-file",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": if layout.mode().to_string() == "v2" { "2" } else { "1" },
            "KernelVersion": uname.release().to_string_lossy(),
            "OSType": "linux",
            "Architecture": uname.machine().to_string_lossy(),
            "NCPU": cpus,
            "MemTotal": memory,
            "DockerRootDir": engine.data,
            "Name": uname.nodename().to_string_lossy(),
            "ServerVersion": env!("CARGO_PKG_VERSION"),
            "DefaultRuntime": "plim-runtime",
            "LiveRestoreEnabled": true,
            "SecurityOptions": ["name=seccomp,profile=builtin"],
        });
        if let Some(format) = &self.format {
            return show(format, &value);
        }
        let line = |name: &str, text: String| output::showln!("{:14} {text}", format!("{name}:"));
        line("Version", env!("CARGO_PKG_VERSION").to_owned());
        line("Data root", engine.data.display().to_string());
        line("Run root", engine.run.display().to_string());
        line("Containers", format!("{} ({running} running)", containers.len()));
        line("Images", value["Images"].to_string());
        line("Layers by", "overlay2".to_owned());
        line("Runtime", "plim-runtime, built in".to_owned());
        line("Cgroups", layout.mode().to_string());
        line(
            "Kernel",
            format!("{} {}", uname.release().to_string_lossy(), uname.machine().to_string_lossy()),
        );
        line("CPUs", cpus.to_string());
        line("Memory", super::shared::show_bytes(memory));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Events {
    /// What happened since a time, too, such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End at a time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only some: type=, event=, container=, image=, volume=, network=, label=
    #[arg(long, short, value_name = "FILTER")]
    filter: Vec<String>,
    /// json, or a template for each such as '{{.Action}} {{.Actor.ID}}'
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Events {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        for filter in &self.filter {
            let key = filter.split_once('=').map_or(filter.as_str(), |(key, _)| key);
            if !matches!(key, "type" | "event" | "container" | "image" | "volume" | "network" | "label") {
                return Err(Error::new(format!("unknown filter '{key}'"))
                    .remedy("events have type, event, container, image, volume, network and label"));
            }
        }
        let since = self.since.as_deref().map(|text| time::moment("--since", text)).transpose()?;
        let until = self.until.as_deref().map(|text| time::moment("--until", text)).transpose()?;
        let mut shown = Ok(());
        engine.events(since, until, |event| {
            if self.fits(&event) {
                shown = self.show(&event);
            }
            shown.is_ok() && !output::is_lost()
        })?;
        shown
    }

    fn show(&self, event: &Event) -> Result<()> {
        let value = serde_json::to_value(event).map_err(|error| Error::new(error.to_string()))?;
        if let Some(format) = &self.format {
            return show(format, &value);
        }
        let attributes: Vec<String> =
            event.actor.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        output::showln!(
            "{} {} {} {} ({})",
            humantime::format_rfc3339_nanos(event.time()),
            event.kind,
            event.action,
            event.actor.id,
            output::text::word(&attributes.join(", "))
        );
        Ok(())
    }

    /// Values of one key are alternatives.
    fn fits(&self, event: &Event) -> bool {
        let fits = |filter: &String| {
            let (key, value) = filter.split_once('=').unwrap_or((filter, ""));
            match key {
                "type" => event.kind == value,
                "event" => event.action == value,
                "label" => {
                    let (name, wanted) =
                        value.split_once('=').map_or((value, None), |(name, value)| (name, Some(value)));
                    event
                        .actor
                        .attributes
                        .get(name)
                        .is_some_and(|found| wanted.is_none_or(|wanted| wanted == found))
                }
                "image" if event.kind == "container" => {
                    event.actor.attributes.get("image").is_some_and(|image| image == value)
                }
                kind => {
                    let is_named = event.actor.attributes.get("name").is_some_and(|name| name == value);
                    event.kind == kind
                        && (is_named || (!value.is_empty() && event.actor.id.starts_with(value)))
                }
            }
        };
        let key = |filter: &String| filter.split('=').next().unwrap_or_default().to_owned();
        let keys: std::collections::BTreeSet<String> = self.filter.iter().map(key).collect();
        keys.iter().all(|wanted| self.filter.iter().filter(|filter| &key(filter) == wanted).any(fits))
    }
}
