//! `plim system`

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::{Args, Subcommand};

use super::listing::{Listing, Row};
use super::shared::show_bytes;
use engine::containers::{self, Attach, Engine, Phase, Restart};
use engine::image;
use runtime::error::{Doing, Error, Result};

#[derive(Debug, Subcommand)]
pub(super) enum System {
    /// Show what images, containers and volumes take on the disk
    Df {
        /// json, or a template for each kind such as '{{.Type}} {{.Size}}'
        #[arg(long, value_name = "TEMPLATE")]
        format: Option<String>,
    },
    /// Remove stopped containers, images without a name, unused networks and the build cache
    Prune {
        /// Images that no container uses, too
        #[arg(long, short)]
        all: bool,
        /// Volumes that no container uses, too
        #[arg(long)]
        volumes: bool,
        /// Do not ask
        #[arg(long, short)]
        force: bool,
    },
    /// Show information about this engine and its host
    Info(super::about::Info),
    /// Tell what happens to containers, volumes and networks
    Events(super::about::Events),
    /// Start containers with the restart policies always and unless-stopped: for the start of this machine
    Start,
    /// Look for what crashes have left or damaged
    Check {
        /// Clear it away
        #[arg(long)]
        repair: bool,
    },
}

impl System {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        match self {
            Self::Df { format } => df(engine, format.as_deref()),
            Self::Prune { all, volumes, force } => {
                confirm(*force, "remove stopped containers, unnamed images and unused networks")?;
                prune(engine, *all, *volumes)
            }
            Self::Info(command) => command.run(engine),
            Self::Events(command) => command.run(engine),
            Self::Start => start_again(engine),
            Self::Check { repair } => check(engine, *repair),
        }
    }
}

/// Asks before something is removed, where there is somebody to ask.
pub(super) fn confirm(force: bool, what: &str) -> Result<()> {
    if force {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(format!("this would {what}")).remedy("--force does it without asking"));
    }
    output::err!("This will {what}. Go on? [y/N] ");
    let mut answer = String::new();
    std::io::stderr().flush().and_then(|()| std::io::stdin().read_line(&mut answer)).doing(|| "asking")?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(Error::new("nothing was removed")) }
}

/// Bytes that a tree takes on the disk, hard links counted once.
fn disk_usage(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut seen = std::collections::BTreeSet::new();
    let mut bytes = 0;
    let mut rest = vec![dir.to_owned()];
    while let Some(dir) = rest.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                rest.push(entry.path());
            }
            if metadata.nlink() < 2 || metadata.is_dir() || seen.insert(metadata.ino()) {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    bytes
}

/// What a template of `system df` may use.
const FIELDS: &[(&str, &str)] = &[
    ("Active", "ACTIVE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
];

fn df(engine: &Engine, format: Option<&str>) -> Result<()> {
    let images = engine.store.images()?;
    let containers: Vec<_> = engine.containers()?.into_iter().filter(|record| !record.build).collect();
    let volumes = engine.volumes.list()?;
    let is_used = |image: &image::Image| containers.iter().any(|record| &record.image_id == image.id());
    let used = images.iter().filter(|image| is_used(image)).count();
    let unused_images: u64 = images
        .iter()
        .filter(|image| !is_used(image))
        .map(|image| engine.store.image_size(image))
        .sum::<Result<u64>>()?;
    let own = |record: &containers::Record| file_bytes(&engine.upper(record));
    let (up, ended): (Vec<_>, Vec<_>) =
        containers.iter().partition(|record| engine.phase(&record.id).is_up());
    let stopped: u64 = ended.iter().map(|record| own(record)).sum();
    let all: u64 = stopped + up.iter().map(|record| own(record)).sum::<u64>();
    let (mut busy, mut volume_bytes, mut free) = (0, 0, 0);
    for volume in &volumes {
        let bytes = file_bytes(&volume.path);
        let is_busy = !engine.users_of_volume(&volume.name)?.is_empty();
        busy += usize::from(is_busy);
        volume_bytes += bytes;
        free += if is_busy { 0 } else { bytes };
    }
    let of = |dir: &str| disk_usage(&engine.data.join(dir));
    let image_bytes = of("blobs") + of("layers");
    let rows = [
        ("Images", images.len(), used, image_bytes, unused_images.min(image_bytes)),
        ("Containers", containers.len(), up.len(), all, stopped),
        ("Local Volumes", volumes.len(), busy, volume_bytes, free),
    ];
    let row = |(kind, total, active, size, free): (&str, usize, usize, u64, u64)| -> Row {
        let share = (free * 100).checked_div(size).map_or_else(String::new, |share| format!(" ({share}%)"));
        let fields = [
            ("Active", active.to_string()),
            ("Reclaimable", format!("{}{share}", show_bytes(free))),
            ("Size", show_bytes(size)),
            ("TotalCount", total.to_string()),
            ("Type", kind.to_owned()),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    };
    let rows: Vec<Row> = rows.into_iter().map(row).collect();
    Listing { fields: FIELDS, columns: vec!["Type", "TotalCount", "Active", "Size", "Reclaimable"] }
        .print(&rows, format)
}

/// Bytes of a tree's regular files.
pub(super) fn file_bytes(dir: &Path) -> u64 {
    let (mut bytes, mut rest) = (0, vec![dir.to_owned()]);
    while let Some(dir) = rest.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                rest.push(entry.path());
            } else if metadata.is_file() {
                bytes += metadata.len();
            }
        }
    }
    bytes
}

#[derive(Debug, Args)]
pub(super) struct ContainerPrune {
    /// Do not ask
    #[arg(long, short)]
    force: bool,
}

impl ContainerPrune {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        confirm(self.force, "remove all stopped containers")?;
        let mut bytes = 0;
        for record in engine.containers()? {
            let own = file_bytes(&engine.upper(&record));
            if !engine.phase(&record.id).is_up() && engine.remove_unused(&record, true)? {
                output::showln!("{}", record.id);
                bytes += own;
            }
        }
        output::showln!("Total reclaimed space: {}", show_bytes(bytes));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct ImagePrune {
    /// All that no container uses, not only those without a name
    #[arg(long, short)]
    all: bool,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
}

impl ImagePrune {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        confirm(
            self.force,
            if self.all {
                "remove all images that no container uses"
            } else {
                "remove all images without a name"
            },
        )?;
        prune_images(engine, self.all)?;
        let freed = image::collect(&engine.store)?;
        output::showln!("Total reclaimed space: {}", show_bytes(freed.bytes));
        Ok(())
    }
}

fn prune_images(engine: &Engine, all: bool) -> Result<()> {
    for found in engine.store.images()? {
        let is_unused = engine.user_of_image(found.id()).is_none() && (all || found.names.is_empty());
        // Another command may have removed it, or made a container of it, since.
        if is_unused && engine.remove_image(found.id().as_str(), true).is_ok() {
            output::showln!("image {}", found.id().short());
        }
    }
    Ok(())
}

/// Starts the containers that a restart of this machine has ended, by their policies.
fn start_again(engine: &Engine) -> Result<()> {
    let mut names = Vec::new();
    for record in engine.containers()? {
        let wanted = match record.host.restart {
            Restart::Always => true,
            Restart::UnlessStopped => !engine.was_stopped(&record.id),
            Restart::No | Restart::OnFailure(_) => false,
        };
        let has_run = engine.state(&record.id).started.is_some();
        if wanted && has_run && !engine.phase(&record.id).is_up() {
            names.push(record.name);
        }
    }
    super::shared::each(&names, |name| {
        let record = engine.find(name)?;
        let _claim = engine.claim(&record)?;
        engine.start(&record, Attach::default()).map_err(|(error, _)| error)?;
        output::showln!("{name}");
        Ok(())
    })
}

/// Removes what nobody uses. Whatever another command needs at this moment stays, and is no error.
fn prune(engine: &Engine, all: bool, volumes: bool) -> Result<()> {
    for record in engine.containers()? {
        if matches!(engine.phase(&record.id), Phase::Exited | Phase::Created | Phase::Dead)
            && engine.remove_unused(&record, true)?
        {
            output::showln!("container {}", record.name);
        }
    }
    engine.refuse_unknown_uses()?;
    engine.store.clear_build_cache()?;
    prune_images(engine, all)?;
    for network in engine.networks.list()? {
        if network.has_names()
            && engine.users_of_network(&network.name)?.is_empty()
            && engine.remove_network(&network.name).is_ok()
        {
            output::showln!("network {}", network.name);
        }
    }
    if volumes {
        for volume in engine.volumes.list()? {
            if engine.users_of_volume(&volume.name)?.is_empty() && engine.remove_volume(&volume.name).is_ok()
            {
                output::showln!("volume {}", volume.name);
            }
        }
    }
    let freed = image::collect(&engine.store)?;
    output::showln!("freed {} in {} blobs and {} layers", show_bytes(freed.bytes), freed.blobs, freed.layers);
    Ok(())
}

fn check(engine: &Engine, repair: bool) -> Result<()> {
    let problems = containers::check(engine, repair)?;
    let left = problems.iter().filter(|problem| !problem.fixed).count();
    for problem in &problems {
        output::showln!("{} {}", if problem.fixed { "fixed:" } else { "found:" }, problem.what);
    }
    if left == 0 {
        output::showln!(
            "{}",
            if problems.is_empty() { "nothing is wrong" } else { "all problems were fixed" }
        );
        return Ok(());
    }
    let error = Error::new(format!("{left} problems are left"));
    Err(if repair { error } else { error.remedy("`plim system check --repair` fixes what can be fixed") })
}
