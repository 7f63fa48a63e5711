//! Running jobs: in what order, and how often.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use record::{Evidence, Outcome, Try, Verdict};

use kit::run::Run;
use kit::turn::{Turn, USUAL_PATIENCE, Waiting};
use kit::{audit, clean, remove};

use crate::attempt::attempt;
use crate::jobs::Job;
use crate::known::Known;
use crate::preflight::Preflight;
use crate::{interrupt, judge};

/// How jobs are run, beside what they are.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// How long to wait for others who must not run beside a check of this run.
    pub patience: Duration,
    /// How many checks that measure no time run side by side; `None`: one for each CPU, at most eight.
    pub workers: Option<NonZeroUsize>,
    /// Whether nothing more is tried once a check failed or had trouble.
    pub fails_fast: bool,
    /// Failures that are expected.
    pub known: Option<&'a Known>,
    /// Hears of each outcome as it is there.
    pub told: &'a (dyn Fn(&Outcome) + Sync),
    /// Hears what the user should know meanwhile, such as for whom the run waits.
    pub said: &'a (dyn Fn(&str) + Sync),
}

impl std::fmt::Debug for Terms<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Default for Terms<'_> {
    fn default() -> Self {
        Self {
            patience: USUAL_PATIENCE,
            workers: None,
            fails_fast: false,
            known: None,
            told: &|_| {},
            said: &|_| {},
        }
    }
}

/// Runs jobs: those that measure time one after the other, the rest side by side before them. Outcomes come in the
/// order of the jobs.
pub fn run_all(run: &Run, jobs: &[Job], terms: Terms<'_>) -> Vec<Outcome> {
    let outcomes: Vec<Mutex<Option<Outcome>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let preflight = Preflight::default();
    let first_failure: OnceLock<String> = OnceLock::new();
    let play = |number: usize| {
        let outcome = match first_failure.get() {
            Some(failed) => {
                Outcome { reason: format!("not tried: {failed} failed before it"), ..untried(&jobs[number]) }
            }
            None => run_one(run, &jobs[number], number, &preflight, terms),
        };
        if terms.fails_fast && matches!(outcome.weighed(), Verdict::Fail | Verdict::Error) {
            let _ = first_failure.set(format!("{} ({})", outcome.check, outcome.subject));
        }
        (terms.told)(&outcome);
        *outcomes[number].lock().expect("no thread panics here") = Some(outcome);
    };
    let (alone, together): (Vec<usize>, Vec<usize>) = (0..jobs.len()).partition(|n| jobs[*n].check.timing);
    let next = AtomicUsize::new(0);
    let usual = || std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let workers = terms.workers.map_or_else(usual, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(number) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
                    play(*number);
                }
            });
        }
    });
    alone.into_iter().for_each(play);
    outcomes.into_iter().filter_map(|outcome| outcome.into_inner().expect("no thread panics here")).collect()
}

/// Runs one job, as often as its verdict needs.
pub fn run_one(run: &Run, job: &Job, number: usize, preflight: &Preflight, terms: Terms<'_>) -> Outcome {
    let mut outcome = try_job(run, job, number, preflight, terms);
    if let Some(known) = terms.known {
        let kernel = rustix::system::uname();
        known.mark(&mut outcome, job.subject(), &kernel.release().to_string_lossy());
    }
    outcome
}

fn try_job(run: &Run, job: &Job, number: usize, preflight: &Preflight, terms: Terms<'_>) -> Outcome {
    let mut outcome = untried(job);
    if let Some(signal) = interrupt::caught() {
        outcome.reason = format!("not tried: the run was ended by {signal}");
        return outcome;
    }
    if let Some(reason) = job.check.all_needs().find_map(|need| need.unmet(&run.layout)) {
        outcome.reason = reason;
        return outcome;
    }
    let waiting = Waiting {
        patience: terms.patience,
        told: &|text| (terms.said)(text),
        is_over: &|| interrupt::caught().is_some(),
    };
    if let Some(objection) = preflight.objection(run, job, waiting, terms.said) {
        (outcome.verdict, outcome.reason) = (Verdict::Error, objection);
        return if_interrupted(outcome);
    }
    let mut tries: Vec<Try> = Vec::new();
    let mut left = Vec::new();
    while !judge::is_settled(&tries) && left.is_empty() && interrupt::caught().is_none() {
        let turn = match Turn::wait(job.check.timing, waiting) {
            Ok(turn) => turn,
            // Without its turn it would measure others, and others it.
            Err(trouble) => {
                (outcome.verdict, outcome.reason) = (Verdict::Error, trouble.into_text());
                return if_interrupted(outcome);
            }
        };
        let (one, remains) = try_once(run, job, &format!("{}x{}", run.tag(number), tries.len() + 1));
        tries.push(one);
        left.extend(remains);
        drop(turn);
    }
    conclude(outcome, tries, left)
}

/// One try, and what it left on the host.
fn try_once(run: &Run, job: &Job, tag: &str) -> (Try, Vec<String>) {
    let start = Instant::now();
    let (checked, mut evidence) = attempt(run, job, tag);
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (verdict, reason) = judge::of_try(checked, &evidence);
    let mut left = audit::remains_of_try(&run.layout, tag);
    if !left.is_empty() {
        clean::sweep_try(&run.layout, tag);
    }
    let dir = run.dir().join(tag);
    if dir.exists()
        && let Err(error) = remove::tree(&dir)
    {
        left.push(format!("directory {}: {error}", dir.display()));
    }
    evidence.notes.extend(left.iter().map(|what| format!("left behind: {what}")));
    (Try { verdict, reason, duration_ms, evidence }, left)
}

/// The outcome of all tries: the last one's evidence, the earlier ones beside it.
fn conclude(mut outcome: Outcome, mut tries: Vec<Try>, left: Vec<String>) -> Outcome {
    (outcome.verdict, outcome.reason) = judge::of_all(&tries);
    if !left.is_empty() {
        let told = format!("left behind: {}", left.join(", "));
        match outcome.verdict {
            // Noise explains no leak.
            Verdict::Pass | Verdict::Inconclusive => {
                outcome.reason =
                    if outcome.reason.is_empty() { told } else { format!("{told}; {}", outcome.reason) };
                outcome.verdict = Verdict::Fail;
            }
            _ => outcome.reason = format!("{}; {told}", outcome.reason),
        }
    }
    outcome.attempts = u32::try_from(tries.len()).unwrap_or(u32::MAX);
    if let Some(last) = tries.pop() {
        (outcome.duration_ms, outcome.evidence) = (last.duration_ms, last.evidence);
    }
    outcome.earlier = tries;
    if_interrupted(outcome)
}

/// The signal reaches the programs that are watched too, so what they did then says nothing.
fn if_interrupted(mut outcome: Outcome) -> Outcome {
    if let Some(signal) = interrupt::caught()
        && outcome.verdict != Verdict::Pass
    {
        outcome.reason = format!("not tried to its end: the run was ended by {signal}");
        outcome.verdict = Verdict::Skip;
    }
    outcome
}

/// An outcome of which only is known what was to be tried.
fn untried(job: &Job) -> Outcome {
    let check = job.check;
    Outcome {
        check: check.id.into(),
        subject: job.subject_name().into(),
        scope: check.scope,
        claim: check.claim.into(),
        source: check.source.into(),
        proved_by: check.faults.iter().map(|fault| fault.name.to_owned()).collect(),
        fault: job.broken_by(),
        verdict: Verdict::Skip,
        reason: String::new(),
        attempts: 0,
        duration_ms: 0,
        evidence: Evidence::default(),
        earlier: Vec::new(),
        known: None,
    }
}
