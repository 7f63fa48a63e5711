//! After a crash: what is found, and what is cleared away.

use std::fs;

use nix::net::if_::if_nameindex;

use super::Engine;
use super::record::Phase;
use crate::image::{self, Problem};
use runtime::container::Container;
use runtime::error::{Doing, Result};

/// Looks for what killed commands have left, in the store and beyond; with `repair` it is cleared away.
///
/// # Errors
/// Something cannot be read.
pub fn check(engine: &Engine, repair: bool) -> Result<Vec<Problem>> {
    let mut problems = image::check(&engine.store, repair)?;
    let mut found = |what: String, fixed: bool| problems.push(Problem { what, fixed });
    let damaged = engine.damaged()?;
    for (id, error) in &damaged {
        let shown = id.get(..12).unwrap_or(id);
        // Its files may be all that somebody has: only its owner can give them up.
        found(
            format!("the record of container {shown} is damaged: {error} (`plim rm -f {shown}` removes it)"),
            false,
        );
    }
    let records = engine.containers()?;
    for record in &records {
        let is_dead = engine.phase(&record.id) == Phase::Dead;
        // Another process is starting or using it, so it is not left over.
        if is_dead || (!engine.is_watched(&record.id) && engine.state(&record.id).device.is_some()) {
            let what = if is_dead { "its watcher was killed" } else { "its network was left" };
            let is_left = !repair && engine.alone(record, false)?.is_some();
            let buried = repair.then(|| engine.bury_if_dead(record));
            if is_left || !matches!(buried, None | Some(Ok(false))) {
                found(format!("container {}: {what}", record.name), matches!(buried, Some(Ok(true))));
            }
        }
        if record.build && engine.alone(record, false)?.is_some() {
            let removed = repair && engine.remove_unused(record, true).unwrap_or(false);
            if removed || engine.dir(&record.id).exists() {
                found(format!("step {} of a build was not finished", record.name), removed);
            }
        }
    }
    check_places(engine, repair, &mut found)?;
    let devices: Vec<String> = records.iter().filter_map(|record| engine.state(&record.id).device).collect();
    for interface in &if_nameindex().doing(|| "listing the network devices")? {
        let name = interface.name().to_string_lossy();
        // One of a container whose record cannot be read is nobody's to remove.
        let is_unknown = damaged.iter().any(|(id, _)| id.starts_with(name.trim_start_matches("plv")));
        if name.starts_with("plv")
            && !is_unknown
            && !devices.contains(&name.to_string())
            && engine.is_ours(&name)
        {
            let fixed = repair && runtime::network::link::remove(&name).is_ok();
            found(format!("device {name} belongs to no container"), fixed);
        }
    }
    Ok(problems)
}

/// Directories without a record, and runs without a container. No container is made or removed meanwhile.
fn check_places(engine: &Engine, repair: bool, found: &mut dyn FnMut(String, bool)) -> Result<()> {
    let _lock = engine.lock()?;
    let dir = engine.data.join("containers");
    for entry in fs::read_dir(&dir).doing(|| format!("reading {}", dir.display()))?.flatten() {
        let path = entry.path();
        if image::is_gone(&path.join("record.json")) {
            found(
                format!("{} belongs to no container", path.display()),
                repair && fs::remove_dir_all(&path).is_ok(),
            );
        }
    }
    for id in Container::ids(&engine.run)? {
        // A record comes before its run and goes after it.
        if !image::is_gone(&engine.dir(&id).join("record.json")) || !engine.run.join(&id).exists() {
            continue;
        }
        let gone = || match Container::hold(&engine.run, &id) {
            Ok(container) => container.delete(true),
            Err(_) => Container::delete_remains(&engine.run, &id),
        };
        found(format!("{id} runs, and belongs to no container"), repair && gone().is_ok());
    }
    Ok(())
}

impl Engine {
    /// Devices are named after containers; those of other data roots are not this one's to judge. One whose container is
    /// nowhere can only be told by the note that its making left.
    fn is_ours(&self, device: &str) -> bool {
        let digits = device.trim_start_matches("plv");
        fs::read_dir(self.data.join("containers"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            // One that is being started has its device before its state says so.
            .any(|id| id.starts_with(digits) && !self.is_watched(&id))
    }
}
