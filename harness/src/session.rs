//! A session: jobs that run under one id, and the record of it.

use std::time::{Instant, SystemTime};

use kit::check::Trouble;
use kit::run::{self, PREFIX, Run};
use kit::{audit, clean};
use record::{Outcome, SCHEMA_VERSION, SubjectInfo, Verdict};
use subject::Subject;

use crate::jobs::Job;
use crate::schedule::{Terms, run_all};
use crate::{findings, host, interrupt};

/// Runs jobs, with a seed of their property checks or a new one, and makes a record of it. A run that a signal ends has a
/// record too, of what was known by then. `begun` hears the run's id before the first job.
///
/// # Errors
/// No run can begin.
pub fn run(
    jobs: &[Job],
    subjects: &[Subject],
    seed: Option<u64>,
    begun: &dyn Fn(&str) -> Result<(), Trouble>,
    terms: Terms<'_>,
) -> Result<record::Run, Trouble> {
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let start = Instant::now();
    let run = Run::begin_with(seed.unwrap_or_else(run::seed))?;
    let subjects: Vec<SubjectInfo> = subjects.iter().map(|subject| subject.info.clone()).collect();
    begun(run.id())?;
    let mut outcomes = run_all(&run, jobs, terms);
    let stuck = if interrupt::caught().is_some() { clean::sweep_run(&run) } else { Vec::new() };
    outcomes.iter_mut().for_each(|outcome| add_finding(outcome, &subjects));
    Ok(record::Run {
        schema_version: SCHEMA_VERSION,
        id: run.id().to_owned(),
        plimsoll: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        left_behind: stuck.into_iter().chain(left_behind(&run)).collect(),
        duration_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        host: host::describe(&run.layout),
        subjects,
        outcomes,
    })
}

/// Says what is known of a claim that failed. It changes no verdict.
fn add_finding(outcome: &mut Outcome, subjects: &[SubjectInfo]) {
    if outcome.verdict != Verdict::Fail || outcome.fault.is_some() {
        return;
    }
    let subject = subjects.iter().find(|subject| subject.name == outcome.subject);
    if let Some(finding) = subject.and_then(|subject| findings::of(&outcome.check, subject)) {
        let note = format!("known of this version: {} (docs/findings.md)", finding.what);
        outcome.evidence.notes.push(note);
    }
}

/// What the run has left on the host.
fn left_behind(run: &Run) -> Vec<String> {
    let mut left = audit::remains(&run.layout, &format!("{PREFIX}{}-", run.id()));
    let mounts = audit::mounts_below(run.dir());
    left.extend(mounts.iter().map(|point| format!("mount {}", point.display())));
    left.extend(audit::processes(run.id()).into_iter().map(|pid| format!("process {pid}")));
    left
}
