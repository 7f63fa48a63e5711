//! Running jobs: in what order, how often; and from what was seen to a verdict.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use record::{Evidence, Outcome, Verdict};

use runtime::process::pidfd;

use kit::audit;
use kit::check::{Checked, Trouble};
use kit::engine::EngineFixture;
use kit::fault::Fault;
use kit::run::{RUN_VARIABLE, Run, SEED_VARIABLE, Turn};
use kit::runtime::RuntimeFixture;
use kit::sandbox::NAME as LAB;
use kit::sandbox::Report;

use crate::jobs::{Job, Target};

/// How often a check is tried while the noise hides its claim.
const MOST_ATTEMPTS: u32 = 3;

/// How long a kernel check may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs jobs: those that measure time one after the other, the rest side by side before them. Outcomes come in the
/// order of the jobs; `told` hears of each as it is there.
pub fn run_all(run: &Run, jobs: &[Job], told: &(dyn Fn(&Outcome) + Sync)) -> Vec<Outcome> {
    let outcomes: Vec<Mutex<Option<Outcome>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let play = |number: usize| {
        let outcome = run_one(run, &jobs[number], number);
        told(&outcome);
        *outcomes[number].lock().expect("no thread panics here") = Some(outcome);
    };
    let (alone, together): (Vec<usize>, Vec<usize>) = (0..jobs.len()).partition(|n| jobs[*n].check.timing);
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
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

/// Runs one job, again while the noise hides its claim.
pub fn run_one(run: &Run, job: &Job, number: usize) -> Outcome {
    let check = job.check;
    let mut outcome = Outcome {
        check: check.id.into(),
        subject: job.subject_name().into(),
        scope: check.scope,
        claim: check.claim.into(),
        source: check.source.into(),
        proved_by: check.faults.iter().map(|fault| fault.name.to_owned()).collect(),
        fault: job.fault.map(|fault| fault.name.into()),
        verdict: Verdict::Skip,
        reason: String::new(),
        attempts: 0,
        duration_ms: 0,
        evidence: Evidence::default(),
    };
    if let Some(reason) = check.all_needs().find_map(|need| need.unmet(&run.layout)) {
        outcome.reason = reason;
        return outcome;
    }
    while outcome.attempts < MOST_ATTEMPTS {
        outcome.attempts += 1;
        let _turn = Turn::wait(check.timing);
        let start = Instant::now();
        let tag = format!("{}x{}", run.tag(number), outcome.attempts);
        let (checked, evidence) = attempt(run, job, &tag);
        outcome.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        outcome.evidence = evidence;
        (outcome.verdict, outcome.reason) = judge(checked, &outcome.evidence);
        let left = audit::remains_of_try(&run.layout, &tag);
        if !left.is_empty() {
            sweep(run, &tag);
            if outcome.verdict == Verdict::Pass {
                outcome.verdict = Verdict::Fail;
                outcome.reason = format!("left behind: {}", left.join(", "));
            }
            outcome.evidence.notes.extend(left.into_iter().map(|what| format!("left behind: {what}")));
        }
        let _ = kit::remove::tree(&run.dir().join(&tag));
        if outcome.verdict != Verdict::Inconclusive {
            break;
        }
    }
    outcome
}

fn attempt(run: &Run, job: &Job, tag: &str) -> (Checked, Evidence) {
    let tried = match job.target() {
        Target::Kernel => play_kernel(run, job, tag),
        Target::Runtime(body, runtime) => {
            RuntimeFixture::new(run, runtime, job.fault, tag).map(|mut runtime| {
                let checked = body(&mut runtime);
                (checked, runtime.seen.0)
            })
        }
        Target::Engine(body, engine) => {
            let (name, hook) = (job.fault.map(|fault| fault.name), job.fault.and_then(Fault::hook));
            EngineFixture::new(run, engine, name, hook, tag).map(|mut engine| {
                let checked = body(&mut engine);
                (checked, std::mem::take(&mut engine.seen.0))
            })
        }
    };
    tried.unwrap_or_else(|trouble| (Err(trouble), Evidence::default()))
}

fn play_kernel(run: &Run, job: &Job, tag: &str) -> Result<(Checked, Evidence), Trouble> {
    let dir = run.dir().join(tag);
    std::fs::create_dir_all(&dir)?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg0(LAB)
        .args(["check", job.check.id])
        .arg(&dir)
        .arg(tag)
        .args(job.fault.map(|fault| fault.name))
        .env(RUN_VARIABLE, run.id())
        .env(SEED_VARIABLE, run.seed.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let process = pidfd::open(child.id().cast_signed())?;
    let watchdog = std::thread::spawn(move || {
        let ended = pidfd::wait_exit(process.as_fd(), PATIENCE).unwrap_or(false);
        if !ended {
            let _ = pidfd::signal(process.as_fd(), nix::sys::signal::Signal::SIGKILL);
        }
        ended
    });
    let output = read_all(&mut child)?;
    if !watchdog.join().unwrap_or(true) {
        return Err(Trouble::Harness(format!("the check did not end within {PATIENCE:?}")));
    }
    let (text, said) = output;
    let report: Report = serde_json::from_str(text.trim())
        .map_err(|error| Trouble::Harness(format!("the check broke off ({error}): {}", said.trim())))?;
    Ok((report.checked, report.evidence))
}

/// All that a process writes, until it ends.
fn read_all(child: &mut Child) -> Result<(String, String), Trouble> {
    let (mut out, mut said) = (String::new(), String::new());
    let errors = child.stderr.take();
    std::thread::scope(|scope| {
        scope.spawn(|| errors.map(|mut errors| errors.read_to_string(&mut said)));
        child.stdout.take().map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut out))
    })?;
    child.wait()?;
    Ok((out, said))
}

/// The verdict, and why.
fn judge(checked: Checked, evidence: &Evidence) -> (Verdict, String) {
    let broken: Vec<String> = evidence
        .expectations
        .iter()
        .filter(|expectation| !expectation.holds)
        .map(|expectation| {
            format!(
                "{}: observed {}, expected {}",
                expectation.what, expectation.observed, expectation.expected
            )
        })
        .collect();
    match checked {
        Err(Trouble::Harness(text)) => (Verdict::Error, text),
        Err(Trouble::Skip(text)) => (Verdict::Skip, text),
        Err(Trouble::Noise(text)) => (Verdict::Inconclusive, text),
        Err(Trouble::Subject(text)) => (Verdict::Fail, text),
        Ok(()) if !broken.is_empty() => {
            // One miss that the noise cannot explain is enough.
            let explained =
                evidence.expectations.iter().all(|expectation| expectation.holds || expectation.doubtful);
            (if explained { Verdict::Inconclusive } else { Verdict::Fail }, broken.join("; "))
        }
        Ok(()) if evidence.expectations.is_empty() => (Verdict::Error, "the check looked at nothing".into()),
        Ok(()) => (Verdict::Pass, String::new()),
    }
}

/// Removes what a try left, after it was noted.
fn sweep(run: &Run, tag: &str) {
    let groups = runtime::cgroup::Directories(audit::cgroups(&run.layout, &format!("{tag}-")));
    let group = runtime::cgroup::Group::at(&run.layout, &groups);
    let _ = group.kill();
    let _ = group.remove();
    for point in audit::mounts(tag).into_iter().filter(|point| audit::is_of_try(point, tag)) {
        let _ = nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::notebook::Notebook;

    #[test]
    fn a_check_that_looked_at_nothing_is_an_error_and_one_broken_expectation_a_failure() {
        assert_eq!(judge(Ok(()), &Evidence::default()).0, Verdict::Error);
        let mut seen = Notebook::default();
        seen.expect_eq("a", &1, &1);
        assert_eq!(judge(Ok(()), &seen.0).0, Verdict::Pass);
        seen.expect_eq("b", &1, &2);
        let (verdict, reason) = judge(Ok(()), &seen.0);
        assert_eq!(verdict, Verdict::Fail);
        let mut noisy = Notebook::default();
        noisy.expect_in("c", 11.0, 0.0..=10.0, "", 2.0);
        assert_eq!(judge(Ok(()), &noisy.0).0, Verdict::Inconclusive);
        noisy.expect_in("d", 13.0, 0.0..=10.0, "", 2.0);
        assert_eq!(judge(Ok(()), &noisy.0).0, Verdict::Fail);
        assert!(reason.contains("observed 1, expected 2"), "{reason}");
        assert_eq!(judge(Err(Trouble::Noise("x".into())), &seen.0).0, Verdict::Inconclusive);
        assert_eq!(judge(Err(Trouble::Harness("x".into())), &seen.0).0, Verdict::Error);
    }
}
