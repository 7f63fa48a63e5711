//! From a row of the list to its record.

use std::path::Path;
use std::time::{Duration, Instant};

use record::{Verdict, matrix};

use super::events::Event;
use super::initramfs::{GuestConfiguration, Kernel};
use super::list::{List, Row};
use super::machine::{Accelerator, Machine, Size};

/// What is the same for every row.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The list.
    pub list: &'a List,
    /// What a guest is to do, as arguments of this program.
    pub arguments: Vec<String>,
    /// More words for the kernel's command line.
    pub append: String,
    /// What runs the guests.
    pub accelerator: Accelerator,
    /// How large the guests are.
    pub size: Size,
}

/// A row's kernel.
#[derive(Debug)]
pub struct Found {
    /// Where it comes from: each package with its version, or a file with the version in it.
    pub from: Vec<String>,
    /// Its files.
    pub kernel: Kernel,
}

/// How far a row is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Checks to come, as soon as the guest has said so.
    pub jobs: usize,
    /// Verdicts so far.
    pub done: usize,
    /// Claims that failed so far.
    pub failed: usize,
}

/// Runs a row to its end.
pub fn run(plan: &Plan<'_>, row: &Row, kernel: &Found, dir: &Path, told: &dyn Fn(&Progress)) -> matrix::Row {
    let mut record = matrix::Row::failed(&row.name, row.variant.word(), row.layout.word(), String::new());
    record.packages.clone_from(&kernel.from);
    plan.accelerator.word().clone_into(&mut record.accelerator);
    let machine = Machine {
        kernel: kernel.kernel.clone(),
        modules: plan.list.modules.clone(),
        accelerator: plan.accelerator,
        configuration: GuestConfiguration {
            layout: row.layout.word().into(),
            arguments: plan.arguments.clone(),
            ..GuestConfiguration::default()
        },
        append: plan.append.clone(),
        size: plan.size.clone(),
        booting: Machine::BOOTING,
    };
    let start = Instant::now();
    let mut progress = Progress::default();
    let ended = machine.run(dir, &mut |event| {
        match event {
            Event::Up { .. } => record.boot_ms = millis(start.elapsed()),
            Event::Begin { jobs } => {
                record.first_check_ms = millis(start.elapsed());
                progress.jobs = jobs;
            }
            Event::Verdict { verdict, .. } => {
                progress.done += 1;
                progress.failed += usize::from(verdict == Verdict::Fail);
            }
            Event::End { run } => record.run = Some(*run),
            Event::Broken { .. } => {}
        }
        told(&progress);
    });
    match ended {
        Err(error) => record.failure = error.to_string(),
        Ok(ended) => {
            record.duration_ms = millis(ended.lived);
            // A whole record and an exit status are what a row is for; one without the other is a broken row.
            let complete = record.run.is_some() && ended.status.is_some();
            if !complete {
                record.run = None;
                record.failure = ended.failure.unwrap_or_else(|| "the guest sent no record".into());
                record.console = ended.console;
            }
        }
    }
    record
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
