//! `plimsoll differ --prove`: whether the search tells a runtime that drops something from the real one.

use differ::{Faults, Side, Stage, Told};
use kit::fault::FaultKind;
use kit::trouble::Trouble;
use record::status;
use runtime::oci::Spec;

use super::failed::Failed;
use crate::interrupt;

/// Of ten faults that a case asks for so many must be told apart.
const LEAST_OF_TEN: usize = 9;

/// What is tried.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The seed of the cases.
    pub(super) seed: u64,
    /// How many cases each fault has.
    pub(super) cases: u64,
    /// The checks whose faults are tried; all if there is none.
    pub(super) of: &'a [String],
}

type Break = fn(&mut Spec);

/// The faults of the catalogue that change a configuration, each once.
fn faults(of: &[String]) -> Result<Vec<(String, Break)>, Failed> {
    if let Some(stranger) = of.iter().find(|id| catalogue::find(id).is_none()) {
        return Err(Failed::new(format!("no check has the id '{stranger}'; `plimsoll list` shows them all")));
    }
    let mut all: Vec<(String, Break)> = Vec::new();
    let checks = catalogue::all();
    for check in checks.iter().filter(|check| of.is_empty() || of.iter().any(|id| id == check.id)) {
        for fault in check.faults {
            if let FaultKind::Config(break_it) = fault.kind
                && !all.iter().any(|(_, other)| std::ptr::fn_addr_eq(*other, break_it))
            {
                all.push((format!("{} under '{}'", check.id, fault.name), break_it));
            }
        }
    }
    Ok(all)
}

/// Tries each fault, and lists those that stay unseen.
pub(super) fn prove(stage: &mut Stage, side: &Side, wanted: &Wanted<'_>) -> Result<u8, Failed> {
    let all = faults(wanted.of)?;
    let mut search = Faults::new(stage, side, wanted.seed, wanted.cases);
    let (mut apart, mut tried, mut unasked) = (0, 0, 0);
    for (name, fault) in &all {
        if interrupt::caught().is_some() {
            break;
        }
        tried += 1;
        match search.told(*fault).map_err(Trouble::into_text)? {
            Told::Apart { number, field } => {
                apart += 1;
                output::outln!("told apart  {name}: {field}, case {number}");
            }
            Told::Not { played } => output::outln!("NOT SEEN    {name}: in {played} cases that it changes"),
            Told::Never => {
                unasked += 1;
                output::outln!("NOT ASKED   {name}: no case asks for what it changes");
            }
        }
    }
    let asked = tried - unasked;
    output::outln!(
        "\n{apart} of {asked} faults were told apart within {} cases; no case asks for what {unasked} others change; seed {}",
        wanted.cases,
        wanted.seed
    );
    if let Some(status) = interrupt::status() {
        return Ok(status);
    }
    Ok(if asked == 0 {
        status::NOT_TRIED
    } else if apart * 10 < asked * LEAST_OF_TEN {
        status::FAILED
    } else {
        status::PASSED
    })
}
