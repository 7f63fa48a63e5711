//! Where things are measured: on the host, and in containers of each runtime, always by the same probe.

use harness::check::Trouble;
use harness::container::Container;
use harness::probes::Probe;
use harness::run::Run;
use harness::subject::Subject;
use harness::trial::Trial;
use serde_json::Value;

/// A place with a probe in it.
pub enum Place {
    /// No container.
    Host(Probe),
    /// A container.
    Container(Box<Container>),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host(_) => "Host",
            Self::Container(_) => "Container",
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
}

impl Side {
    /// Asks its probe.
    ///
    /// # Errors
    /// The probe cannot do it.
    pub fn ask(&mut self, words: &[&str]) -> Result<Value, String> {
        let answer = match &mut self.place {
            Place::Host(probe) => probe.ask(words),
            Place::Container(container) => container.ask(words),
        };
        answer.map_err(|trouble| format!("{trouble:?}"))
    }

    /// How long one of so many operations takes, in nanoseconds.
    ///
    /// # Errors
    /// The probe cannot do it.
    pub fn measure(&mut self, operation: &str, times: u32) -> Result<f64, String> {
        let scratch = self.scratch.clone();
        let answer = self.ask(&["bench", operation, &times.to_string(), &scratch])?;
        let total = answer.as_f64().ok_or_else(|| format!("{operation}: the answer is no number"))?;
        Ok(total / f64::from(times.max(1)))
    }
}

/// All sides of this machine: the host twice, and those that are named. What does not start is told.
///
/// # Errors
/// There is no probe on the host.
pub fn all(run: &Run, names: &[String]) -> Result<(Vec<Side>, Vec<String>), String> {
    let (mut sides, mut missing) = (Vec::new(), Vec::new());
    for name in ["host", "host again"] {
        let probe = Probe::start(run.id()).map_err(|trouble| format!("{trouble:?}"))?;
        let scratch = run.dir().join(name.replace(' ', "-")).display().to_string();
        sides.push(Side { name: name.to_owned(), place: Place::Host(probe), scratch });
    }
    for (number, name) in names.iter().enumerate() {
        match start(run, name, number) {
            Ok(container) => sides.push(Side {
                name: name.clone(),
                place: Place::Container(Box::new(container)),
                scratch: "/tmp/bench".into(),
            }),
            Err(error) => missing.push(format!("{name}: {error}")),
        }
    }
    Ok((sides, missing))
}

/// A container of a subject, or of our own core under the filter that its engine gives by default.
fn start(run: &Run, name: &str, number: usize) -> Result<Container, String> {
    let (word, filtered) = name.strip_suffix("+seccomp").map_or((name, false), |word| (word, true));
    let subject = Subject::named(word)?;
    let mut trial = Trial::new(run, &subject, None, &run.tag(number)).map_err(Trouble::into_text)?;
    let wanted = trial.container().with(|spec| {
        if filtered {
            let linux = spec.linux.get_or_insert_default();
            linux.seccomp = Some(runtime::engine::default_seccomp(&[]));
        }
    });
    wanted.start().map_err(Trouble::into_text)
}
