//! One try of a check: its body, played against its subject or in a process of its own.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kit::check::{Checked, Trouble};
use kit::engine::EngineFixture;
use kit::fault::Fault;
use kit::run::{RUN_VARIABLE, Run, SEED_VARIABLE};
use kit::runtime::RuntimeFixture;
use kit::sandbox::NAME as LAB;
use kit::sandbox::Report;
use record::Evidence;
use runtime::process::pidfd;

use crate::jobs::{Job, Target};

/// How long a kernel check may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries a job once. Everything that it makes on the host has `tag` in its name.
pub(crate) fn attempt(run: &Run, job: &Job, tag: &str) -> (Checked, Evidence) {
    let tried = match job.target() {
        Target::Kernel => play_kernel(run, job, tag),
        Target::Runtime(body, runtime) => {
            RuntimeFixture::new(run, runtime, job.fault, tag).map(|fixture| play(fixture, *body, job))
        }
        Target::Through(body, engine) => RuntimeFixture::through_engine(run, engine, job.fault, tag)
            .map(|fixture| play(fixture, *body, job)),
        Target::Engine(body, engine) => {
            let (name, hook) = (job.fault.map(|fault| fault.name), job.fault.and_then(Fault::hook));
            EngineFixture::new(run, engine, name, hook, tag).map(|mut engine| {
                if let Some(tap) = &job.tap {
                    engine.tap(std::sync::Arc::clone(tap));
                }
                let checked = body(&mut engine);
                (checked, std::mem::take(&mut engine.seen.0))
            })
        }
    };
    tried.unwrap_or_else(|trouble| (Err(trouble), Evidence::default()))
}

fn play(
    mut runtime: RuntimeFixture<'_>,
    body: fn(&mut RuntimeFixture<'_>) -> Checked,
    job: &Job,
) -> (Checked, Evidence) {
    if let Some(tap) = &job.tap {
        runtime.tap(std::sync::Arc::clone(tap));
    }
    let checked = body(&mut runtime);
    (checked, runtime.seen.0)
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
