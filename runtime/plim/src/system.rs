//! `plim system`

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::Subcommand;

use super::shared::{print_table, show_bytes};
use engine::containers::{self, Engine, Phase};
use engine::image;
use runtime::cgroup::Layout;
use runtime::error::{Doing, Error, Result};

#[derive(Debug, Subcommand)]
pub(super) enum System {
    /// Show what images, containers and volumes take on the disk
    Df,
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
    /// Show what this engine is and stands on
    Info,
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
            Self::Df => df(engine),
            Self::Prune { all, volumes, force } => {
                confirm(*force, "remove stopped containers, unnamed images and unused networks")?;
                prune(engine, *all, *volumes)
            }
            Self::Info => info(engine),
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

fn df(engine: &Engine) -> Result<()> {
    let images = engine.store.images()?;
    let containers = engine.containers()?;
    let volumes = engine.volumes.list()?;
    let used =
        images.iter().filter(|image| containers.iter().any(|record| &record.image_id == image.id())).count();
    let running = containers.iter().filter(|record| engine.phase(&record.id) == Phase::Running).count();
    let mut busy = 0;
    for volume in &volumes {
        busy += usize::from(!engine.users_of_volume(&volume.name)?.is_empty());
    }
    let row = |kind: &str, total: usize, active: usize, bytes: u64| {
        vec![kind.to_owned(), total.to_string(), active.to_string(), show_bytes(bytes)]
    };
    let of = |dir: &str| disk_usage(&engine.data.join(dir));
    print_table(
        &["TYPE", "TOTAL", "ACTIVE", "SIZE"],
        &[
            row("Images", images.len(), used, of("blobs") + of("layers")),
            row("Containers", containers.len(), running, of("containers")),
            row("Volumes", volumes.len(), busy, of("volumes")),
        ],
    );
    Ok(())
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
    for found in engine.store.images()? {
        let is_unused = engine.user_of_image(found.id()).is_none() && (all || found.names.is_empty());
        // Another command may have removed it, or made a container of it, since.
        if is_unused && engine.remove_image(found.id().as_str(), true).is_ok() {
            output::showln!("image {}", found.id().short());
        }
    }
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

fn info(engine: &Engine) -> Result<()> {
    let layout = Layout::detect()?;
    let uname = rustix::system::uname();
    let containers = engine.containers()?;
    let running = containers.iter().filter(|record| engine.phase(&record.id) == Phase::Running).count();
    output::showln!("Version:       {}", env!("CARGO_PKG_VERSION"));
    output::showln!("Data root:     {}", engine.data.display());
    output::showln!("Run root:      {}", engine.run.display());
    output::showln!("Containers:    {} ({running} running)", containers.len());
    output::showln!("Images:        {}", engine.store.images()?.len());
    output::showln!("Layers by:     overlay2");
    output::showln!("Runtime:       plim-runtime, built in");
    output::showln!("Cgroups:       {}", layout.mode());
    output::showln!(
        "Kernel:        {} {}",
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy()
    );
    output::showln!(
        "Way out:       {}",
        if runtime::process::in_path("nft").is_some() { "nftables" } else { "none: install nftables" }
    );
    Ok(())
}

fn check(engine: &Engine, repair: bool) -> Result<()> {
    let problems = containers::check(engine, repair)?;
    let left = problems.iter().filter(|problem| !problem.mended).count();
    for problem in &problems {
        output::showln!("{} {}", if problem.mended { "mended:" } else { "found:" }, problem.what);
    }
    if left == 0 {
        output::showln!("{}", if problems.is_empty() { "nothing is wrong" } else { "all of it was mended" });
        return Ok(());
    }
    let error = Error::new(format!("{left} problems are left"));
    Err(if repair { error } else { error.remedy("`plim system check --repair` mends what can be mended") })
}
