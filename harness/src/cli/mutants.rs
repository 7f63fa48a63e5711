//! `plimsoll prove --mutants`: a check that passes although the subject was asked for something a little different would not notice
//! a subject that gets it a little wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use kit::check::Check;
use kit::mutate::{Fate, Mutation, Tap, mutations};
use record::status;
use record::{MUTANTS_SCHEMA_VERSION, Mutant, MutantFate, Mutants, Outcome, Verdict};
use reports::json;
use subject::Subject;

use super::check::{How, Pace, run_jobs};
use super::failed::Failed;
use super::report::Place;
use crate::jobs::{Job, jobs};

/// What is to be mutated.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The seed of the choice.
    pub(super) seed: u64,
    /// How many mutations of one check at most.
    pub(super) most: usize,
    /// Where the record goes.
    pub(super) json: Option<&'a Path>,
    /// How a run goes on beside others.
    pub(super) pace: &'a Pace,
    /// Whether those that were found are listed too.
    pub(super) verbose: bool,
}

impl Wanted<'_> {
    fn how(&self) -> How<'_> {
        How {
            events: None,
            seed: Some(self.seed),
            pace: self.pace,
            fails_fast: false,
            is_quiet: false,
            known: None,
        }
    }
}

/// One mutation of a job.
#[derive(Debug)]
struct Planned {
    job: Job,
    tap: Arc<Tap>,
    mutation: Mutation,
}

/// Tries the checks once as they are, to see what they ask for, and then under each mutation.
///
/// # Errors
/// No run can begin, or the record cannot be written.
pub(super) fn run(checks: &[&'static Check], subject: &Subject, wanted: &Wanted) -> Result<u8, Failed> {
    let place = wanted.json.map(Place::open).transpose()?;
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let subjects = std::slice::from_ref(subject);
    let surveyed: Vec<(Job, Arc<Tap>)> = jobs(checks, subjects)
        .into_iter()
        // A check of the kernel asks no subject for anything.
        .filter(|job| job.subject().is_some())
        .map(|job| (job, Arc::new(Tap::survey())))
        .collect();
    let survey: Vec<Job> = surveyed.iter().map(|(job, tap)| job.tapped(Arc::clone(tap))).collect();
    let first = run_jobs(&survey, subjects, wanted.how())?;
    let mut record = Mutants {
        schema_version: MUTANTS_SCHEMA_VERSION,
        plimsoll: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        host: first.host.clone(),
        subject: subject.info.clone(),
        seed: wanted.seed,
        most: wanted.most,
        without: Vec::new(),
        plain: Vec::new(),
        mutants: Vec::new(),
    };
    let planned = plan(&surveyed, &first.outcomes, &mut record);
    let broken: Vec<Job> = planned.iter().map(|one| one.job.tapped(Arc::clone(&one.tap))).collect();
    let run = run_jobs(&broken, subjects, wanted.how())?;
    record.mutants.extend(planned.iter().zip(&run.outcomes).map(|(one, outcome)| {
        let (fate, reason) = judge(outcome, &one.tap.fate());
        mutant(one.job.check, &one.mutation, fate, reason, outcome.duration_ms)
    }));
    show(&record, wanted.verbose);
    if let Some(place) = place {
        place.write(&json::text(&record)?)?;
    }
    Ok(exit_status(&record))
}

/// Which mutations are tried; those that no claim speaks of go into the record at once.
fn plan(surveyed: &[(Job, Arc<Tap>)], outcomes: &[Outcome], record: &mut Mutants) -> Vec<Planned> {
    let mut planned = Vec::new();
    for ((job, tap), outcome) in surveyed.iter().zip(outcomes) {
        let check = job.check;
        if outcome.verdict != Verdict::Pass {
            let why = format!("{}: {}", outcome.verdict.word(), outcome.reason);
            record.without.push((check.id.to_owned(), why));
            continue;
        }
        let all = mutations(&tap.asked(), record.seed, usize::MAX);
        if all.is_empty() {
            record.plain.push(check.id.to_owned());
        }
        let mut left = record.most;
        for mutation in all {
            let edit = &mutation.edit;
            let asked = edit.before.as_ref();
            let reason = catalogue::background::reason(check.id, &mutation.document, &edit.pointer, asked);
            if let Some(reason) = reason {
                let fate = MutantFate::Background;
                record.mutants.push(mutant(check, &mutation, fate, reason.to_owned(), 0));
            } else if left > 0 {
                left -= 1;
                let tap = Arc::new(Tap::under(mutation.clone()));
                planned.push(Planned { job: job.clone(), tap, mutation });
            }
        }
    }
    planned
}

fn mutant(check: &Check, mutation: &Mutation, fate: MutantFate, reason: String, duration_ms: u64) -> Mutant {
    let Mutation { document, edit, .. } = mutation.clone();
    Mutant {
        check: check.id.to_owned(),
        document,
        pointer: edit.pointer,
        before: edit.before,
        after: edit.after,
        fate,
        reason,
        duration_ms,
    }
}

/// What an outcome says of a mutation.
fn judge(outcome: &Outcome, fate: &Fate) -> (MutantFate, String) {
    let missed: Vec<&str> = outcome
        .evidence
        .expectations
        .iter()
        .filter(|expectation| !expectation.holds && !expectation.doubtful)
        .map(|expectation| expectation.what.as_str())
        .collect();
    match (fate, outcome.verdict) {
        (Fate::NotDone, _) => (MutantFate::NotDone, String::new()),
        (_, Verdict::Fail) if !missed.is_empty() => (MutantFate::Found, missed.join("; ")),
        (Fate::Refused(why), _) => (MutantFate::Refused, why.clone()),
        (Fate::Taken, Verdict::Fail) => (MutantFate::BrokeOff, outcome.reason.clone()),
        (Fate::Taken, Verdict::Pass) => (MutantFate::Survived, String::new()),
        (Fate::Taken, _) => (MutantFate::NotTried, outcome.reason.clone()),
    }
}

fn show(record: &Mutants, verbose: bool) {
    for (check, why) in &record.without {
        output::outln!("{:9}  {check}: it does not pass without a mutation ({why})", "left out");
    }
    let shown = |mutant: &&Mutant| {
        verbose || matches!(mutant.fate, MutantFate::Survived | MutantFate::BrokeOff | MutantFate::NotTried)
    };
    for mutant in record.mutants.iter().filter(shown) {
        output::outln!("{:9}  {}  {mutant}", mutant.fate.words(), mutant.check);
        if !mutant.reason.is_empty() {
            output::outln!("           {}", mutant.reason);
        }
    }
    let counts: Vec<String> = MutantFate::ALL
        .iter()
        .filter(|fate| record.count(**fate) > 0)
        .map(|fate| format!("{} {}", record.count(*fate), fate.words().to_lowercase()))
        .collect();
    let (found, matter) = record.score();
    output::outln!("\n{found} of {matter} mutations that matter were found ({})", counts.join(", "));
    output::outln!("seed {}; at most {} of each check", record.seed, record.most);
}

fn exit_status(record: &Mutants) -> u8 {
    match record.score() {
        (found, matter) if found < matter => status::FAILED,
        (_, 0) => status::NOT_TRIED,
        _ if record.count(MutantFate::NotTried) > 0 => status::TROUBLE,
        _ => status::PASSED,
    }
}

#[cfg(test)]
mod tests {
    use record::{Evidence, Expectation, Scope};

    use super::*;

    fn outcome(verdict: Verdict, holds: &[bool]) -> Outcome {
        let expectation = |holds: &bool| Expectation {
            what: "it".into(),
            observed: String::new(),
            expected: String::new(),
            tolerance: String::new(),
            holds: *holds,
            control: None,
            missed_by: None,
            doubtful: false,
        };
        Outcome {
            check: "x".into(),
            subject: "core".into(),
            scope: Scope::Runtime,
            claim: String::new(),
            source: String::new(),
            proved_by: Vec::new(),
            fault: Some("m".into()),
            verdict,
            reason: "why".into(),
            attempts: 1,
            duration_ms: 1,
            evidence: Evidence {
                expectations: holds.iter().map(expectation).collect(),
                ..Evidence::default()
            },
            earlier: Vec::new(),
            known: None,
        }
    }

    #[test]
    fn only_an_expectation_that_does_not_hold_finds_a_mutation() {
        let of = |verdict, holds: &[bool], fate: Fate| judge(&outcome(verdict, holds), &fate).0;
        assert_eq!(of(Verdict::Fail, &[true, false], Fate::Taken), MutantFate::Found);
        assert_eq!(of(Verdict::Fail, &[true], Fate::Taken), MutantFate::BrokeOff);
        assert_eq!(of(Verdict::Fail, &[true], Fate::Refused("no".into())), MutantFate::Refused);
        assert_eq!(of(Verdict::Fail, &[false], Fate::Refused("no".into())), MutantFate::Found);
        assert_eq!(of(Verdict::Pass, &[true], Fate::Taken), MutantFate::Survived);
        assert_eq!(of(Verdict::Pass, &[true], Fate::NotDone), MutantFate::NotDone);
        assert_eq!(of(Verdict::Inconclusive, &[true], Fate::Taken), MutantFate::NotTried);
    }
}
