//! `plimsoll check`

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kit::clean;
use record::status::{self, Require};
use record::{Outcome, Verdict};
use reports::{html, json, terminal};

use super::failed::{Failed, Invalid};
use super::forms::Forms;
use super::look::Color;
use super::progress::Progress;
use super::report::Place;
use super::selecting::{Kind, Selecting};
use crate::jobs::{Job, jobs};
use crate::known::Known;
use crate::schedule::Terms;
use crate::{interrupt, session};
use ::matrix::events::{Event, EventStream};
use kit::check::Trouble;
use subject::{Options, Subject};

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    selecting: Selecting,
    /// What to check: core, the name of an OCI runtime or an engine in PATH, or a path [default: core, and runc if it is there]
    #[arg(long, value_name = "NAME|PATH")]
    subject: Vec<String>,
    #[command(flatten)]
    beside: Beside,
    /// Seed of the property checks, as an earlier run told it
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Write the record there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the page there; on a terminal it is written to plimsoll.html anyway
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    forms: Forms,
    /// Write a line of JSON there for each verdict as it comes, and the record at the end
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Only checks that look at this; may be given more than once [default: all three]
    #[arg(long, value_name = "WHAT")]
    scope: Vec<Kind>,
    /// Show the evidence of every check, not only of those that failed
    #[arg(long, short)]
    verbose: bool,
    /// Show only what did not pass, and the total
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    #[command(flatten)]
    color: Color,
    /// Try nothing more once a check failed or had trouble
    #[arg(long)]
    fail_fast: bool,
    /// How many checks must pass or fail, as a number or a percentage of all: with fewer the exit status is 3
    #[arg(long, value_name = "N|PERCENT", default_value_t = Require::default())]
    require: Require,
    /// End as `git bisect run` wants it: 0 passed, 1 failed, 125 cannot be told
    #[arg(long)]
    bisect: bool,
    /// Failures that are expected, and where they are described: they are marked, and not counted in the exit status
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    #[command(flatten)]
    pace: Pace,
}

/// How a run goes on beside others.
#[derive(Debug, Args)]
pub(super) struct Pace {
    /// How many checks run side by side, of those that measure no time [default: one for each CPU, at most 8]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// How long to wait for another run that must not run beside a check of this one, such as 90s or 10m
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

impl Check {
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let checks = self.selecting.checks(&self.scope)?;
        let subjects = subjects(&self.subject, &self.beside)?;
        // Whatever cannot be written is known before minutes of work, and not after them.
        let record = self.json.as_deref().map(Place::open).transpose()?;
        let page = page_path(self.html.as_deref(), "plimsoll.html");
        let page = page.as_deref().map(Place::open).transpose()?;
        let forms = self.forms.open()?;
        let known = self.known.as_deref().map(Known::read).transpose();
        let known = known.map_err(|error| Failed::new(format!("--known {error}")))?;
        let how = How {
            events: self.events.as_deref(),
            seed: self.seed,
            pace: &self.pace,
            fails_fast: self.fail_fast,
            is_quiet: self.quiet,
            known: known.as_ref(),
        };
        let run = run_jobs(&jobs(&checks, &subjects), &subjects, how)?;
        if self.quiet {
            output::out!("{}", terminal::brief(&run));
        } else {
            output::out!("{}", terminal::table(&run, self.color.is_wanted()));
        }
        let shown = |outcome: &&Outcome| {
            let is_notable =
                matches!(outcome.verdict, Verdict::Fail | Verdict::Error | Verdict::Inconclusive);
            self.verbose || (is_notable && !self.quiet)
        };
        for outcome in run.outcomes.iter().filter(shown) {
            output::out!("\n{}", terminal::evidence(outcome));
        }
        // A form that fails does not stop the others.
        let written = record.map_or(Ok(()), |record| record.write(&json::text(&run)?));
        let formed = forms.write(&run);
        if let Some(page) = page {
            page.write_page(&html::page(&run))?;
        }
        written.and(formed)?;
        let status = ended(&run, self.require);
        Ok(if self.bisect { status::for_bisect(status) } else { status })
    }
}

/// The exit status of a run; says why it is no success where the table does not show it.
pub(super) fn ended(run: &record::Run, require: Require) -> u8 {
    if let Some(status) = interrupt::status() {
        output::errln!("plimsoll: ended by {}; what was known by then is shown", signal_name());
        return status;
    }
    let expected = run.outcomes.iter().filter(|outcome| outcome.weighed() != outcome.shown()).count();
    if expected > 0 {
        output::errln!(
            "plimsoll: {expected} of the failures are known, and are not counted in the exit status"
        );
    }
    let status = run.exit_status_if(require);
    if status == status::NOT_TRIED {
        let counts = run.shown_counts();
        output::errln!(
            "plimsoll: {} of {} checks passed or failed, and {require} must (see the reasons above, and `plimsoll doctor` for remedies)",
            counts.settled(),
            counts.total()
        );
    }
    status
}

fn signal_name() -> &'static str {
    interrupt::caught().map_or("a signal", nix::sys::signal::Signal::as_str)
}

/// Where the page goes: where the user said, or for somebody at a terminal into the directory where he is.
pub(super) fn page_path(wanted: Option<&Path>, usual: &str) -> Option<PathBuf> {
    let here = || std::io::stdout().is_terminal().then(|| PathBuf::from(usual));
    wanted.map(Path::to_owned).or_else(here)
}

/// Writes the page and says where it is.
pub(super) fn write_page(path: &Path, text: &str) -> Result<(), Failed> {
    Place::open(path)?.write_page(text)
}

/// What is said of engines beside their names.
#[derive(Debug, Default, Args)]
pub(super) struct Beside {
    /// The Docker daemon to use, as docker's own --host; also by DOCKER_HOST. Without it each check has a daemon of its own
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// An OCI runtime for the engine to use for its containers; may be given more than once, the first one counts
    #[arg(long, value_name = "NAME=PATH", value_parser = runtime_below)]
    runtime: Vec<(String, PathBuf)>,
}

fn runtime_below(text: &str) -> Result<(String, PathBuf), Invalid> {
    let (name, path) = text.split_once('=').ok_or("give NAME=PATH, such as crun=/usr/bin/crun")?;
    let path = Path::new(path);
    if !path.is_file() {
        return Err(format!("{}: no such program", path.display()).into());
    }
    // Daemons have a working directory of their own.
    Ok((name.to_owned(), std::path::absolute(path).map_err(|error| error.to_string())?))
}

/// The subjects that a user named, or those that every host can have.
pub(super) fn subjects(named: &[String], beside: &Beside) -> Result<Vec<Subject>, Failed> {
    let options = Options { host: beside.host.clone(), runtimes: beside.runtime.clone() };
    if !named.is_empty() {
        let subject = |word: &String| Ok(Subject::with(word, &options)?);
        return named.iter().map(subject).collect();
    }
    if options != Options::default() {
        return Err("--host and --runtime are of an engine: name it, such as --subject docker".into());
    }
    let mut subjects = vec![Subject::core()?];
    subjects.extend(Subject::named("runc"));
    Ok(subjects)
}

/// How jobs are run.
#[derive(Debug, Clone, Copy)]
pub(super) struct How<'a> {
    /// Where verdicts go as they come.
    pub(super) events: Option<&'a Path>,
    /// Of the property checks.
    pub(super) seed: Option<u64>,
    /// Beside others.
    pub(super) pace: &'a Pace,
    /// Whether the first failure ends it.
    pub(super) fails_fast: bool,
    /// Whether nothing is told meanwhile.
    pub(super) is_quiet: bool,
    /// Failures that are expected.
    pub(super) known: Option<&'a Known>,
}

/// Runs jobs under a progress line, and makes a record of it.
pub(super) fn run_jobs(jobs: &[Job], subjects: &[Subject], how: How<'_>) -> Result<record::Run, Failed> {
    let stream = how.events.map(EventStream::open).transpose()?;
    let tell = |event: Event| {
        if let Some(stream) = &stream {
            stream.tell(&event);
        }
    };
    let progress = Progress::new(jobs.len(), how.is_quiet);
    tell(Event::Begin { jobs: jobs.len() });
    let terms = Terms {
        patience: how.pace.wait,
        workers: how.pace.jobs,
        fails_fast: how.fails_fast,
        known: how.known,
        told: &|outcome| {
            progress.tell(outcome);
            tell(Event::of(outcome));
        },
        said: &|text| progress.say(text),
    };
    let record = session::run(jobs, subjects, how.seed, &end_by_signal, terms);
    progress.end();
    let record = record.map_err(Trouble::into_text)?;
    if stream.is_some() {
        tell(Event::End { run: Box::new(record.clone()) });
    }
    Ok(record)
}

/// From now on a signal ends the run with this id.
fn end_by_signal(id: &str) -> Result<(), Trouble> {
    let id = id.to_owned();
    Ok(interrupt::watch(move |signal| {
        output::errln!(
            "plimsoll: {signal}: ending the checks; once more ends at once, and `plimsoll clean` then removes what is left"
        );
        clean::end_processes(&id);
    })?)
}
