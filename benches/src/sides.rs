//! Where things are measured: on the host, in containers of each runtime, and in a virtual machine, always by the same probe.

use std::fs;
use std::path::Path;

use kit::probes::Probe;
use kit::run::Run;
use kit::runtime::Container;
use kit::runtime::RuntimeFixture;
use kit::verbs::{Ask, cpu, measure, program};
use probe::measure::DYNAMIC;
use runtime::oci::Spec;
use subject::Subject;

use crate::error::{Doing, Error};
use crate::guest::{self, Guest};
use crate::paired::{of_one, turns};

/// A place with a probe in it.
pub enum Place {
    /// No container.
    Host(Probe),
    /// A container.
    Container(Box<Container>),
    /// A virtual machine.
    Guest(Box<Guest>),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host(_) => "Host",
            Self::Container(_) => "Container",
            Self::Guest(_) => "Guest",
        })
    }
}

/// A place, its name, and where files may be made in it.
#[derive(Debug)]
pub struct Side {
    /// Its name.
    pub name: String,
    place: Place,
    scratch: String,
    cpu: usize,
}

impl Side {
    /// What must be known of its figures; empty if they may be compared with the host's.
    pub fn note(&self) -> String {
        if let Place::Guest(guest) = &self.place { guest.note.clone() } else { String::new() }
    }

    fn ask<A: Ask>(&mut self, request: A) -> Result<A::Answer, Error> {
        match &mut self.place {
            Place::Host(probe) => probe.ask(request).map_err(Error::from),
            Place::Container(container) => container.ask(request).map_err(Error::from),
            Place::Guest(guest) => guest.probed.ask(request).map_err(Error::from),
        }
    }

    /// Restarts the probe on its CPU, so that its memory layout differs in each round. Layout then shows up as noise within the
    /// interval, not as a difference.
    ///
    /// # Errors
    /// The probe is gone.
    pub fn renew(&mut self) -> Result<(), Error> {
        self.ask(program::renew())?;
        self.ask(cpu::pin(self.cpu))
    }

    /// How long one of so many operations takes, in nanoseconds.
    ///
    /// # Errors
    /// The probe cannot do it.
    pub fn measure(&mut self, operation: &str, times: u32) -> Result<f64, Error> {
        let scratch = self.scratch.clone();
        Ok(of_one(self.ask(measure::bench(operation, times, &scratch))?, times))
    }
}

/// The first of the host's ids that stand for those of a user namespace.
const FIRST_ID: u32 = 100_000;

/// What is wanted beside the host.
#[derive(Debug)]
pub struct Chosen<'a> {
    /// Names: `core`, `core+seccomp`, `core+userns`, `vm`, `vm:ROW`, a runtime's name or path.
    pub names: &'a [String],
    /// The CPU of all.
    pub cpu: usize,
    /// Where kernel packages are kept.
    pub cache: Option<&'a Path>,
}

/// All sides of this machine: the host as often as a base is measured, and those that are named. What does not start is told.
///
/// # Errors
/// There is no probe on the host.
pub fn all(run: &Run, chosen: &Chosen<'_>) -> Result<(Vec<Side>, Vec<String>), Error> {
    let (mut sides, mut missing) = (Vec::new(), Vec::new());
    let mut add = |name: &str, place: Place, scratch: String| {
        sides.push(Side { name: name.to_owned(), place, scratch, cpu: chosen.cpu });
    };
    for (number, name) in turns("host").iter().enumerate() {
        // The very file that containers have.
        let probe = Probe::start_file(run.id(), &run.probe())?;
        add(name, Place::Host(probe), run.dir().join(format!("host-{number}")).display().to_string());
    }
    for (number, name) in chosen.names.iter().enumerate() {
        let place = match name.strip_prefix("vm") {
            Some(row) if row.is_empty() || row.starts_with(':') => {
                guest::boot(run, row.strip_prefix(':'), chosen.cache)
                    .map(|guest| Place::Guest(Box::new(guest)))
            }
            _ => start(run, name, number).map(|container| Place::Container(Box::new(container))),
        };
        match place {
            Ok(place) => add(name, place, "/tmp/bench".into()),
            Err(error) => missing.push(format!("{name}: {error}")),
        }
    }
    Ok((sides, missing))
}

/// A container of a subject, perhaps under the filter that our own engine gives by default, or in a user namespace.
fn start(run: &Run, name: &str, number: usize) -> Result<Container, Error> {
    let (word, variant) = name.split_once('+').unwrap_or((name, ""));
    let subject = Subject::named(word)?;
    let runtime = subject.runtime.ok_or_else(|| Error::new(format!("'{word}' is not a runtime")))?;
    let mut runtime = RuntimeFixture::new(run, &runtime, None, &run.tag(number))?;
    let wanted = match variant {
        "" => runtime.container(),
        "seccomp" => runtime.container().with(filtered),
        "userns" => runtime.container().in_user_namespace(FIRST_ID),
        other => {
            return Err(Error::new(format!("there is no variant '{other}'; there are seccomp and userns")));
        }
    };
    let container = wanted.start()?;
    let doing = || container.rootfs.display();
    for file in guest::needed(Path::new(DYNAMIC)) {
        let inside = container.rootfs.join(file.strip_prefix("/").unwrap_or(&file));
        fs::create_dir_all(inside.parent().unwrap_or(&inside)).doing(doing)?;
        fs::copy(&file, &inside).doing(doing)?;
    }
    // Container root maps to an unprivileged id here, so make the directory world-writable.
    let scratch = container.rootfs.join("tmp/bench");
    fs::create_dir_all(&scratch).doing(doing)?;
    fs::set_permissions(&scratch, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).doing(doing)?;
    Ok(container)
}

fn filtered(spec: &mut Spec) {
    let linux = spec.linux.get_or_insert_default();
    linux.seccomp = Some(engine::containers::default_seccomp(&[]));
}
