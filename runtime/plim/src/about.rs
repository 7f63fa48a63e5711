//! `plim version`, `info` and `events`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{template, time};
use engine::containers::{Engine, Phase};
use engine::events::Event;
use runtime::cgroup::{Layout, Mode};
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
        let part = || Part {
            version: env!("CARGO_PKG_VERSION"),
            api_version: API,
            os: "linux",
            arch: engine::image::architecture(),
            kernel_version: uname.release().to_string_lossy().into_owned(),
        };
        if let Some(format) = &self.format {
            return show(format, &Versions { client: part(), server: part() });
        }
        output::showln!("plim:");
        output::showln!(" Version:       {}", env!("CARGO_PKG_VERSION"));
        output::showln!(" API version:   {API} (that of the commands; there is no daemon)");
        output::showln!(" OS/Arch:       linux/{}", engine::image::architecture());
        output::showln!(" Kernel:        {}", uname.release().to_string_lossy());
        Ok(())
    }
}

/// What `version --format` shows. There is no daemon, so both parts are this program.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    client: Part,
    server: Part,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    version: &'static str,
    api_version: &'static str,
    os: &'static str,
    arch: &'static str,
    kernel_version: String,
}

fn show(format: &str, document: &impl Serialize) -> Result<()> {
    let document = template::document(document)?;
    if format == "json" {
        output::document(&document.to_string());
    } else {
        output::value(&template::fill(format, &document)?);
    }
    Ok(())
}

/// What `info --format` shows. Source: Docker Engine API 1.45, `SystemInfo`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SystemInfo {
    containers: usize,
    containers_running: usize,
    containers_paused: usize,
    containers_stopped: usize,
    images: usize,
    driver: &'static str,
    logging_driver: &'static str,
    cgroup_driver: &'static str,
    cgroup_version: &'static str,
    kernel_version: String,
    #[serde(rename = "OSType")]
    os_type: &'static str,
    architecture: String,
    #[serde(rename = "NCPU")]
    cpus: usize,
    /// Bytes.
    mem_total: u64,
    docker_root_dir: PathBuf,
    name: String,
    server_version: &'static str,
    default_runtime: &'static str,
    live_restore_enabled: bool,
    security_options: [&'static str; 1],
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
        let info = SystemInfo {
            containers: containers.len(),
            containers_running: running,
            containers_paused: paused,
            containers_stopped: containers.len() - running - paused,
            images: engine.store.images()?.len(),
            driver: "overlay2",
            logging_driver: "json-file",
            cgroup_driver: "cgroupfs",
            cgroup_version: if layout.mode() == Mode::V2 { "2" } else { "1" },
            kernel_version: uname.release().to_string_lossy().into_owned(),
            os_type: "linux",
            architecture: uname.machine().to_string_lossy().into_owned(),
            cpus,
            mem_total: memory,
            docker_root_dir: engine.data.clone(),
            name: uname.nodename().to_string_lossy().into_owned(),
            server_version: env!("CARGO_PKG_VERSION"),
            default_runtime: "plim-runtime",
            live_restore_enabled: true,
            security_options: ["name=seccomp,profile=builtin"],
        };
        if let Some(format) = &self.format {
            return show(format, &info);
        }
        let line = |name: &str, text: String| output::showln!("{:14} {text}", format!("{name}:"));
        line("Version", env!("CARGO_PKG_VERSION").to_owned());
        line("Data root", engine.data.display().to_string());
        line("Run root", engine.run.display().to_string());
        line("Containers", format!("{} ({running} running)", containers.len()));
        line("Images", info.images.to_string());
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
        if let Some(format) = &self.format {
            return show(format, event);
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
