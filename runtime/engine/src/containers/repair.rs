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
    let records = engine.containers()?;
    for record in &records {
        if engine.phase(&record.id) == Phase::Dead {
            let mended = repair && engine.bury(record).is_ok();
            problems
                .push(Problem { what: format!("container {}: its watcher was killed", record.name), mended });
        } else if !engine.is_watched(&record.id) && engine.state(&record.id).device.is_some() {
            let mended = repair && engine.bury(record).is_ok();
            problems
                .push(Problem { what: format!("container {}: its network was left", record.name), mended });
        }
        if record.build && !engine.is_watched(&record.id) {
            let mended = repair && engine.lock().and_then(|_lock| engine.erase(record, true)).is_ok();
            problems
                .push(Problem { what: format!("step {} of a build was not finished", record.name), mended });
        }
    }
    let dir = engine.data.join("containers");
    for entry in fs::read_dir(&dir).doing(|| format!("reading {}", dir.display()))?.flatten() {
        if !entry.path().join("record.json").exists() {
            let mended = repair && fs::remove_dir_all(entry.path()).is_ok();
            problems.push(Problem {
                what: format!("{} belongs to no container", entry.path().display()),
                mended,
            });
        }
    }
    for id in Container::ids(&engine.run)? {
        if !records.iter().any(|record| record.id == id) {
            let gone = || match Container::hold(&engine.run, &id) {
                Ok(container) => container.delete(true),
                Err(_) => Container::delete_remains(&engine.run, &id),
            };
            let mended = repair && gone().is_ok();
            problems.push(Problem { what: format!("{id} runs, and belongs to no container"), mended });
        }
    }
    let devices: Vec<String> = records.iter().filter_map(|record| engine.state(&record.id).device).collect();
    for interface in &if_nameindex().doing(|| "listing the network devices")? {
        let name = interface.name().to_string_lossy();
        if name.starts_with("plv") && !devices.contains(&name.to_string()) && engine.is_ours(&name) {
            let mended = repair && crate::network::remove_device(&name).is_ok();
            problems.push(Problem { what: format!("device {name} belongs to no container"), mended });
        }
    }
    Ok(problems)
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
            .any(|entry| entry.file_name().to_string_lossy().starts_with(digits))
    }
}
