//! A session: jobs that run under one id, and the record of it.

use std::time::{Instant, SystemTime};

use kit::audit;
use kit::check::Trouble;
use kit::run::{self, PREFIX, Run};
use record::{Outcome, SCHEMA_VERSION, SubjectInfo, Verdict};
use subject::Subject;

use crate::jobs::Job;
use crate::schedule::run_all;
use crate::{findings, host};

/// Runs jobs, with a seed of their property checks or a new one, and makes a record of it. `told` hears of each outcome as it is
/// there.
///
/// # Errors
/// No run can begin.
pub fn run(
    jobs: &[Job],
    subjects: &[Subject],
    seed: Option<u64>,
    told: &(dyn Fn(&Outcome) + Sync),
) -> Result<record::Run, Trouble> {
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let start = Instant::now();
    let run = Run::begin_with(seed.unwrap_or_else(run::seed))?;
    let subjects: Vec<SubjectInfo> = subjects.iter().map(|subject| subject.info.clone()).collect();
    let mut outcomes = run_all(&run, jobs, told);
    outcomes.iter_mut().for_each(|outcome| add_finding(outcome, &subjects));
    Ok(record::Run {
        schema_version: SCHEMA_VERSION,
        id: run.id().to_owned(),
        plimsoll: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        left_behind: left_behind(&run),
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
    left.extend(audit::processes(run.id()).into_iter().map(|pid| format!("process {pid}")));
    left
}
