//! Before the first check of a subject: one container of it. What a subject cannot do at all is found and said once, and is not
//! two hundred claims that fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use kit::check::Trouble;
use kit::engine::{BASE, EngineFixture};
use kit::run::Run;
use kit::runtime::RuntimeFixture;
use kit::turn::{Turn, Waiting};
use kit::{audit, clean, remove};
use probe::verbs::look;

use crate::jobs::{Job, Target};

/// What is known of each subject so far.
#[derive(Debug, Default)]
pub struct Preflight(Mutex<BTreeMap<String, Known>>);

/// Why a subject cannot be checked, as soon as that was tried.
type Known = Arc<OnceLock<Option<String>>>;

impl Preflight {
    /// Why nothing can be said of the claims of a job's subject here; `None` if it runs containers. `told` hears that when it is
    /// found, and so once for each subject.
    pub(crate) fn objection(
        &self,
        run: &Run,
        job: &Job,
        waiting: Waiting<'_>,
        told: &(dyn Fn(&str) + Sync),
    ) -> Option<String> {
        if matches!(job.target(), Target::Kernel) {
            return None;
        }
        let (known, number) = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let number = all.len();
            (Arc::clone(all.entry(job.subject_name().to_owned()).or_default()), number)
        };
        let answer = known.get_or_init(|| {
            let name = job.subject_name();
            let trouble = fly(run, job.target(), &format!("{}p{number}", run.tag(0)), waiting)?;
            let text = format!("before the checks: {trouble}; nothing is said of its claims (run one container of {name} by hand)");
            told(&text);
            Some(text)
        });
        answer.clone()
    }
}

/// Starts a container, asks its application something, and ends it. Says what went wrong.
fn fly(run: &Run, target: &Target, tag: &str, waiting: Waiting<'_>) -> Option<String> {
    let flown = Turn::wait(false, waiting).and_then(|_turn| match target {
        Target::Kernel => Ok(()),
        Target::Runtime(_, runtime) => {
            RuntimeFixture::new(run, runtime, None, tag).and_then(|mut fixture| one_container(&mut fixture))
        }
        Target::Through(_, engine) => RuntimeFixture::through_engine(run, engine, None, tag)
            .and_then(|mut fixture| one_container(&mut fixture)),
        Target::Engine(_, engine) => EngineFixture::new(run, engine, None, None, tag).and_then(|fixture| {
            fixture.base()?;
            fixture.run(&["--network", "none"], BASE, look::alive()).map(drop)
        }),
    });
    let left = audit::remains_of_try(&run.layout, tag);
    clean::sweep_try(&run.layout, tag);
    // What cannot be removed is in the run's directory, and told with what is left of that.
    let _ = remove::tree(&run.dir().join(tag));
    // What a subject cannot be asked for is a matter of each check.
    let flown = flown.or_else(|trouble| if let Trouble::Skip(_) = trouble { Ok(()) } else { Err(trouble) });
    flown.err().map(Trouble::into_text).or_else(|| {
        (!left.is_empty()).then(|| format!("one container of it left behind: {}", left.join(", ")))
    })
}

fn one_container(fixture: &mut RuntimeFixture<'_>) -> Result<(), Trouble> {
    let mut container = fixture.container().start()?;
    container.ask(look::alive())?;
    container.close().map(drop)
}
