//! Which checks are tried against what.

use std::sync::Arc;

use kit::check::{Body, Check, Checked};
use kit::engine::EngineFixture;
use kit::fault::Fault;
use kit::mutate::Tap;
use kit::runtime::RuntimeFixture;
use record::SubjectInfo;
use subject::{Engine, Runtime, Subject};

/// A check to be tried against one subject, or against the kernel.
#[derive(Debug, Clone)]
pub struct Job {
    /// The check.
    pub check: &'static Check,
    /// Broken how.
    pub fault: Option<&'static Fault>,
    /// Where what the check asks for is seen, and perhaps mutated.
    pub tap: Option<Arc<Tap>>,
    target: Target,
    subject: Option<SubjectInfo>,
}

/// Against what: a check of a runtime has a runtime, and one of an engine an engine.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The kernel, in a process that finds the check by its id.
    Kernel,
    /// A runtime.
    Runtime(fn(&mut RuntimeFixture<'_>) -> Checked, Arc<dyn Runtime>),
    /// An engine that starts containers for the check of a runtime.
    Through(fn(&mut RuntimeFixture<'_>) -> Checked, Arc<dyn Engine>),
    /// An engine.
    Engine(fn(&mut EngineFixture<'_>) -> Checked, Arc<dyn Engine>),
}

impl Job {
    /// The name of what is checked, for reports.
    pub fn subject_name(&self) -> &str {
        self.subject.as_ref().map_or("kernel", |subject| &subject.name)
    }

    /// What is checked, if it is not the kernel.
    pub fn subject(&self) -> Option<&SubjectInfo> {
        self.subject.as_ref()
    }

    /// The same, broken by a fault.
    #[must_use]
    pub fn under(&self, fault: &'static Fault) -> Self {
        Self { fault: Some(fault), ..self.clone() }
    }

    /// The same, with what the check asks for seen, and perhaps mutated.
    #[must_use]
    pub fn tapped(&self, tap: Arc<Tap>) -> Self {
        Self { tap: Some(tap), ..self.clone() }
    }

    /// How it is broken, in words, if it is.
    pub fn broken_by(&self) -> Option<String> {
        let mutation = self.tap.as_ref().and_then(|tap| tap.mutation());
        mutation.map(ToString::to_string).or_else(|| self.fault.map(|fault| fault.name.to_owned()))
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

/// The jobs of these checks: one for each subject that can be asked, or one for the kernel. A runtime knows no images, and an engine
/// takes no bundles: what a subject cannot be asked is not its lack.
pub fn jobs(checks: &[&'static Check], subjects: &[Subject]) -> Vec<Job> {
    checks.iter().flat_map(|check| of_check(check, subjects)).collect()
}

fn of_check(check: &'static Check, subjects: &[Subject]) -> Vec<Job> {
    let against = |subject: &Subject, target: Target| Job {
        check,
        fault: None,
        tap: None,
        target,
        subject: Some(subject.info.clone()),
    };
    match check.body {
        Body::Kernel(_) => vec![Job { check, fault: None, tap: None, target: Target::Kernel, subject: None }],
        Body::Runtime(body) => subjects
            .iter()
            .filter_map(|subject| {
                if let Some(runtime) = &subject.runtime {
                    return Some(against(subject, Target::Runtime(body, Arc::clone(runtime))));
                }
                let engine = subject.engine.as_ref().filter(|engine| engine.words().is_some())?;
                Some(against(subject, Target::Through(body, Arc::clone(engine))))
            })
            .collect(),
        Body::Engine(body) => subjects
            .iter()
            .filter_map(|subject| {
                let engine = subject.engine.as_ref().filter(|engine| engine.has_docker_commands())?;
                let engine = Arc::clone(engine);
                Some(against(subject, Target::Engine(body, engine)))
            })
            .collect(),
    }
}
