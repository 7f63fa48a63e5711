//! `plimsoll check`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use record::{Outcome, Scope, Verdict};
use reports::{html, json, terminal};

use super::report::Place;
use crate::jobs::{Job, jobs};
use crate::session;
use ::matrix::events::{Event, EventStream};
use kit::check::Trouble;
use subject::Subject;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Parts of ids; all checks if none is given
    filter: Vec<String>,
    /// What to check: core, the name of an OCI runtime in PATH, or a path [default: core, and runc if it is there]
    #[arg(long, value_name = "NAME|PATH")]
    subject: Vec<String>,
    /// Seed of the property checks, as an earlier run told it
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Write the record there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the page there; on a terminal it is written to plimsoll.html anyway
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a line of JSON there for each verdict as it comes, and the record at the end
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Only checks that look at this; may be given more than once [default: all three]
    #[arg(long, value_name = "WHAT")]
    scope: Vec<Kind>,
    /// Show the evidence of every check, not only of those that failed
    #[arg(long, short)]
    verbose: bool,
}

impl Check {
    pub(super) fn run(&self) -> Result<u8, String> {
        let checks = within(catalogue::select(&self.filter).map_err(|error| error.to_string())?, &self.scope);
        let subjects = subjects(&self.subject)?;
        // Whatever cannot be written is known before minutes of work, and not after them.
        let record = self.json.as_deref().map(Place::open).transpose()?;
        let page = page_path(self.html.as_deref(), "plimsoll.html");
        let page = page.as_deref().map(Place::open).transpose()?;
        let run = run_jobs(&jobs(&checks, &subjects), &subjects, self.events.as_deref(), self.seed)?;
        output::out!("{}", terminal::table(&run, terminal::wants_color(std::io::stdout().is_terminal())));
        let shown = |outcome: &&Outcome| {
            self.verbose || matches!(outcome.verdict, Verdict::Fail | Verdict::Error | Verdict::Inconclusive)
        };
        for outcome in run.outcomes.iter().filter(shown) {
            output::out!("\n{}", terminal::evidence(outcome));
        }
        // One that fails keeps the others from nothing.
        let written = record.map_or(Ok(()), |record| record.write(&json::text(&run)?));
        if let Some(page) = page {
            page.write_page(&html::page(&run))?;
        }
        written?;
        Ok(run.exit_status())
    }
}

/// Where the page goes: where the user said, or for somebody at a terminal into the directory where he is.
pub(super) fn page_path(wanted: Option<&Path>, usual: &str) -> Option<PathBuf> {
    let here = || std::io::stdout().is_terminal().then(|| PathBuf::from(usual));
    wanted.map(Path::to_owned).or_else(here)
}

/// Writes the page and says where it is.
pub(super) fn write_page(path: &Path, text: &str) -> Result<(), String> {
    Place::open(path)?.write_page(text)
}

/// What a check looks at, as a word of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Primitives of the kernel
    Kernel,
    /// A low-level runtime, which takes a bundle
    Runtime,
    /// An engine, which has images and volumes
    Engine,
}

impl Kind {
    fn scope(self) -> Scope {
        match self {
            Self::Kernel => Scope::Kernel,
            Self::Runtime => Scope::Runtime,
            Self::Engine => Scope::Engine,
        }
    }

    /// The word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Runtime => "runtime",
            Self::Engine => "engine",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Those checks that look at one of these; all if none is named.
pub(super) fn within(
    checks: Vec<&'static kit::check::Check>,
    kinds: &[Kind],
) -> Vec<&'static kit::check::Check> {
    let wanted = |check: &&kit::check::Check| kinds.iter().any(|kind| kind.scope() == check.scope);
    checks.into_iter().filter(|check| kinds.is_empty() || wanted(check)).collect()
}

/// The subjects that a user named, or those that every host can have.
pub(super) fn subjects(named: &[String]) -> Result<Vec<Subject>, String> {
    if !named.is_empty() {
        return named.iter().map(|word| Subject::named(word).map_err(|error| error.to_string())).collect();
    }
    let mut subjects = vec![Subject::core().map_err(|error| error.to_string())?];
    subjects.extend(Subject::named("runc"));
    Ok(subjects)
}

/// Runs jobs under a progress line, and makes a record of it.
pub(super) fn run_jobs(
    jobs: &[Job],
    subjects: &[Subject],
    events: Option<&Path>,
    seed: Option<u64>,
) -> Result<record::Run, String> {
    let stream = events.map(EventStream::open).transpose()?;
    let tell = |event: Event| {
        if let Some(stream) = &stream {
            stream.tell(&event);
        }
    };
    let progress = progress(jobs.len());
    tell(Event::Begin { jobs: jobs.len() });
    let record = session::run(jobs, subjects, seed, &|outcome| {
        progress.set_message(format!("{} ({})", outcome.check, outcome.subject));
        progress.inc(1);
        tell(Event::of(outcome));
    });
    progress.finish_and_clear();
    let record = record.map_err(Trouble::into_text)?;
    if stream.is_some() {
        tell(Event::End { run: Box::new(record.clone()) });
    }
    Ok(record)
}

fn progress(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{pos}/{len} [{bar:30}] {elapsed} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
