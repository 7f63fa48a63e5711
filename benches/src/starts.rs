//! From the start of a container that does nothing to its end, with the same configuration for all, beside the bare floor.

use std::ffi::OsString;
use std::time::Duration;

use kit::run::Run;
use record::bench::Measured;

use crate::error::Error;
use crate::floor::Starter;
use crate::paired::{Contestant, compare, timed};
use crate::runtimes::{Runtime, bundle};
use crate::tiny;

/// In a tight loop, and after an idle time.
pub const STARTS: [&str; 2] = ["start-hot", "start-cold"];

/// How long others wait for an RCU grace period after an idle time: a start after that is a cold one.
const IDLE: Duration = Duration::from_millis(100);

/// Measures the floor with groups as the base, the floor without them, and every runtime among the sides.
///
/// # Errors
/// The floor cannot be measured.
pub fn starts(run: &Run, sides: &[String], name: &str, rounds: usize) -> Result<Measured, Error> {
    let dir = run.dir().join("start");
    if !dir.exists() {
        bundle(&dir, tiny::write_true)?;
    }
    let idle = if name == "start-cold" { IDLE } else { Duration::ZERO };
    let floor = |number: usize, groups: bool| {
        let tag = groups.then(|| format!("{}-floor", run.tag(number)));
        Starter::new(&dir.join("rootfs"), tag.as_deref())
    };
    let started = |mut floor: Starter| {
        move || {
            std::thread::sleep(idle);
            floor.run()
        }
    };
    let mut based = vec![floor(0, true)?, floor(1, true)?, floor(2, true)?];
    let mut contestants =
        Contestant::bases("floor with groups", || started(based.pop().expect("one for each base")));
    contestants.push(Contestant::new("floor", started(floor(3, false)?)));
    for runtime in Runtime::all(run, sides) {
        let id = format!("{}-{}", run.tag(0), runtime.name);
        let words: Vec<OsString> = vec!["run".into(), "--bundle".into(), dir.clone().into(), id.into()];
        contestants.push(Contestant::new(runtime.name.clone(), move || {
            std::thread::sleep(idle);
            timed(|| runtime.call(&words))
        }));
    }
    compare(name, "us", rounds, &mut contestants)
}
