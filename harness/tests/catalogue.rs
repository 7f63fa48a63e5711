//! The catalogue under `cargo test -p harness`: one test for each check and subject, named `SUBJECT::CHECK`.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use harness::jobs::{Job, jobs};
use harness::known::Known;
use harness::preflight::Preflight;
use harness::schedule::{Terms, run_one};
use harness::{findings, roles};
use kit::run::Run;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use record::Verdict;
use reports::terminal;
use subject::Subject;

fn main() -> ExitCode {
    // This program file is also the probe, the lab and the runtime core.
    if let Some(status) = roles::dispatch() {
        return status;
    }
    let arguments = Arguments::from_args();
    let mut subjects = vec![Subject::core().expect("this program can be found")];
    subjects.extend(Subject::named("runc"));
    let run: Arc<OnceLock<Run>> = Arc::default();
    let preflight: Arc<Preflight> = Arc::default();
    let trials = jobs(&catalogue::all(), &subjects).into_iter().enumerate().map(|(number, job)| {
        let (run, preflight) = (Arc::clone(&run), Arc::clone(&preflight));
        let name = format!("{}::{}", job.subject_name(), job.check.id);
        Trial::ignorable_test(name, move || play(&run, &job, number, &preflight))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // `exit` would skip it, and leave the run's directory behind.
    drop(run);
    conclusion.exit_code()
}

fn play(run: &OnceLock<Run>, job: &Job, number: usize, preflight: &Preflight) -> Result<Completion, Failed> {
    let run = run.get_or_init(|| Run::begin().expect("a run can begin"));
    let terms = Terms { known: expected(), ..Terms::default() };
    let outcome = run_one(run, job, number, preflight, terms);
    match outcome.verdict {
        Verdict::Pass if !outcome.reason.is_empty() => {
            eprintln!("{} on {} {}", outcome.check, outcome.subject, outcome.reason);
            Ok(Completion::Completed)
        }
        Verdict::Pass => Ok(Completion::Completed),
        Verdict::Fail if outcome.known.is_some() => Ok(Completion::ignored_with(outcome.reason)),
        Verdict::Skip | Verdict::Inconclusive => Ok(Completion::ignored_with(outcome.reason)),
        Verdict::Fail | Verdict::Error => match known(job) {
            Some(finding) => Ok(Completion::ignored_with(format!("known of this version: {}", finding.what))),
            None => Err(terminal::evidence(&outcome).into()),
        },
    }
}

/// The failures that `PLIMSOLL_KNOWN` names, as `plimsoll check --known` does.
fn expected() -> Option<&'static Known> {
    static KNOWN: OnceLock<Option<Known>> = OnceLock::new();
    let read = || {
        let path = std::env::var_os("PLIMSOLL_KNOWN")?;
        Some(Known::read(path.as_ref()).unwrap_or_else(|error| panic!("PLIMSOLL_KNOWN: {error}")))
    };
    KNOWN.get_or_init(read).as_ref()
}

fn known(job: &Job) -> Option<&'static findings::Finding> {
    findings::of(job.check.id, job.subject()?)
}
