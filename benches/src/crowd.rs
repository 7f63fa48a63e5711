//! How a start and the memory of an idle container grow with the number of those that live already.

use std::ffi::OsString;

use kit::run::Run;
use procfs::{Current, Meminfo};
use record::bench::{Measured, Side};
use runtime::cgroup::Group;

use crate::disturbance::Disturbance;
use crate::error::{Doing, Error};
use crate::paired::{alone, timed};
use crate::runtimes::{Runtime, bundle};
use crate::tiny;

/// Rows.
pub const CROWD: [&str; 1] = ["crowd"];

/// What it gives.
pub const CROWD_ROWS: [&str; 3] = ["start-among-many", "memory-of-an-idle-container", "delete-among-many"];

/// The last starts before a mark is reached stand for it.
const LAST: usize = 50;

/// Starts so many containers that idle, stops at each mark to look at what they take, and removes them all.
///
/// # Errors
/// One does not start or does not go, or something of one stays.
pub fn crowd(run: &Run, marks: &[usize]) -> Result<[Measured; 3], Error> {
    let dir = run.dir().join("crowd");
    bundle(&dir, tiny::write_idle)?;
    let mut crowd = Crowd { runtime: Runtime::named(run, "core")?, ids: Vec::new() };
    let before = Disturbance::now();
    let empty = available()?;
    let (mut starts, mut memory, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for mark in marks {
        while crowd.ids.len() < *mark {
            let id = run.tag(crowd.ids.len());
            let words: [OsString; 5] =
                ["run".into(), "--detach".into(), "--bundle".into(), dir.clone().into(), id.clone().into()];
            crowd.ids.push(id);
            times.push(timed(|| crowd.runtime.call(&words))?);
        }
        let name = format!("{mark} live");
        starts.push(alone(&name, &times[times.len().saturating_sub(LAST)..]));
        #[expect(clippy::cast_precision_loss, reason = "52 bits are enough for KiB")]
        let each = empty.saturating_sub(available()?) as f64 / 1024.0 / *mark as f64;
        memory.push(alone(&name, &[each]));
    }
    let removed = crowd.remove()?;
    for id in (0..times.len()).map(|number| run.tag(number)) {
        let group = Group::plan(&run.layout, id.as_ref())?;
        if let Some(part) = group.parts().iter().find(|part| part.dir.exists()) {
            return Err(Error::new(format!("{} is left", part.dir.display())));
        }
    }
    let (steal_ms, waiting_ms) = before.since();
    let row = |name: &str, unit: &str, sides: Vec<Side>| Measured {
        name: name.to_owned(),
        unit: unit.to_owned(),
        floor: 0.0,
        steal_ms,
        waiting_ms,
        sides,
        ..Measured::default()
    };
    Ok([
        row(CROWD_ROWS[0], "us", starts),
        row(CROWD_ROWS[1], "KiB", memory),
        row(CROWD_ROWS[2], "us", vec![alone(&format!("{} live at first", times.len()), &removed)]),
    ])
}

struct Crowd {
    runtime: Runtime,
    ids: Vec<String>,
}

impl Crowd {
    /// Removes them all; how long each took.
    fn remove(&mut self) -> Result<Vec<f64>, Error> {
        let mut times = Vec::new();
        while let Some(id) = self.ids.pop() {
            times.push(timed(|| self.runtime.call(&["delete", "--force", &id]))?);
        }
        Ok(times)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // After a failure: as many as will go.
        while let Some(id) = self.ids.pop() {
            let _ = self.runtime.call(&["delete", "--force", &id]);
        }
    }
}

fn available() -> Result<u64, Error> {
    let memory = Meminfo::current().doing(|| "/proc/meminfo")?;
    memory.mem_available.ok_or_else(|| Error::new("/proc/meminfo has no MemAvailable"))
}
