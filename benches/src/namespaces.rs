//! What each kind of namespace adds to a process that does nothing.

use kit::probes::Probe;
use kit::run::Run;
use kit::verbs::tasks;
use record::bench::Measured;

use crate::error::Error;
use crate::paired::{Contestant, compare, of_one};

/// Rows.
pub const NAMESPACES: [&str; 1] = ["clone-by-namespace"];

/// Kinds, by the names of their links in `/proc/PID/ns`.
const KINDS: [&str; 8] = ["user", "pid", "mnt", "uts", "ipc", "cgroup", "net", "pid,mnt,uts,ipc,cgroup,net"];

/// Clones of each batch: the namespaces of a batch live until the kernel has cleared them away, later.
const TIMES: u32 = 20;

/// Measures clones with each kind, and with all that a container has; the base is a clone without any.
///
/// # Errors
/// The base cannot be measured.
pub fn namespaces(run: &Run, name: &str, rounds: usize) -> Result<Measured, Error> {
    let probe = std::cell::RefCell::new(Probe::start(run.id())?);
    let once = |kinds: &'static str| {
        let probe = &probe;
        move || {
            let request = tasks::make_namespaces(kinds, TIMES);
            let took = probe.borrow_mut().ask(request)?;
            Ok(of_one(took, TIMES) / 1e3)
        }
    };
    let mut contestants = Contestant::bases("none", || once(""));
    for kinds in KINDS {
        let name = if kinds.contains(',') { "all but user" } else { kinds };
        contestants.push(Contestant::new(name, once(kinds)));
    }
    compare(name, "us", rounds, &mut contestants)
}
