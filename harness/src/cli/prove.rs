//! `plimsoll prove`: a check that stays green under its fault proves nothing.

use clap::Args;
use record::Proof;
use record::status::Require;
use reports::terminal;

use super::check::{How, Pace, ended, run_jobs, subjects};
use super::failed::Failed;
use super::mutants;
use super::selecting::{Kind, Selecting};
use crate::jobs::{Job, jobs};

#[derive(Debug, Args)]
pub(super) struct Prove {
    #[command(flatten)]
    selecting: Selecting,
    /// What to break: core, the name of an OCI runtime in PATH, or a path
    #[arg(long, value_name = "NAME|PATH", default_value = "core")]
    subject: String,
    #[command(flatten)]
    beside: super::check::Beside,
    /// Only checks that look at this; may be given more than once [default: all three]
    #[arg(long, value_name = "WHAT")]
    scope: Vec<Kind>,
    /// Write a line of JSON there for each verdict as it comes, and the record at the end
    #[arg(long, value_name = "FILE", conflicts_with = "mutants")]
    events: Option<std::path::PathBuf>,
    /// Instead of the faults: small changes of what each check asks its subject for. Those that no check notices are listed
    #[arg(long)]
    mutants: bool,
    /// How many mutations of one check are tried at most
    #[arg(long, value_name = "NUMBER", default_value_t = 12, requires = "mutants")]
    most: usize,
    /// The seed of the choice of mutations
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "mutants")]
    seed: u64,
    /// Write the record of the mutations there
    #[arg(long, value_name = "FILE", requires = "mutants")]
    json: Option<std::path::PathBuf>,
    /// Show the evidence of every check
    #[arg(long, short)]
    verbose: bool,
    /// How many proofs must be settled, as a number or a percentage of all: with fewer the exit status is 3
    #[arg(long, value_name = "N|PERCENT", default_value_t = Require::default())]
    require: Require,
    #[command(flatten)]
    pace: Pace,
}

impl Prove {
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let checks = self.selecting.checks(&self.scope)?;
        let subjects = subjects(std::slice::from_ref(&self.subject), &self.beside)?;
        if self.mutants {
            return mutants::run(
                &checks,
                &subjects[0],
                &mutants::Wanted {
                    seed: self.seed,
                    most: self.most,
                    json: self.json.as_deref(),
                    pace: &self.pace,
                    verbose: self.verbose,
                },
            );
        }
        let broken: Vec<Job> = jobs(&checks, &subjects)
            .into_iter()
            .flat_map(|job| job.check.faults.iter().map(move |fault| job.under(fault)))
            .collect();
        let how = How {
            events: self.events.as_deref(),
            seed: None,
            pace: &self.pace,
            fails_fast: false,
            is_quiet: false,
            known: None,
        };
        let run = run_jobs(&broken, &subjects, how)?;
        let (mut failing, mut toothless, mut unproven) = (0, 0, 0);
        for outcome in &run.outcomes {
            let fault = outcome.fault.as_deref().unwrap_or_default();
            let said = match (outcome.proof(), outcome.verdict) {
                (Some(Proof::Red), _) => {
                    failing += 1;
                    "fails"
                }
                (Some(Proof::NotTried), verdict) => {
                    unproven += 1;
                    verdict.word()
                }
                _ => {
                    toothless += 1;
                    "TOOTHLESS"
                }
            };
            output::outln!("{said:9}  {} under '{fault}': {}", outcome.check, outcome.reason);
            if self.verbose || said == "TOOTHLESS" {
                output::out!("{}", terminal::evidence(outcome));
            }
        }
        let all = run.outcomes.len();
        output::outln!(
            "\n{failing} of {all} fail under their faults, {toothless} toothless, {unproven} not tried"
        );
        run.left_behind.iter().for_each(|left| output::outln!("left behind: {left}"));
        Ok(ended(&run, self.require))
    }
}
