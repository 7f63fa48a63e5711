//! Whether the search tells a runtime with a fault from the same one without.

use std::collections::BTreeMap;

use kit::trouble::Trouble;
use runtime::oci::Spec;

use crate::generate::Seeded;
use crate::observed::{Observed, kind};
use crate::side::{Side, broken};
use crate::stage::Stage;

/// What came of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was told from the real one by this case, and by this field.
    Apart {
        /// The case's number.
        number: u64,
        /// The field.
        field: String,
    },
    /// Cases whose configuration it changes were played, and none of them showed it.
    Not {
        /// How many.
        played: u64,
    },
    /// It changes the configuration of no case.
    Never,
}

/// Tries faults one after the other, with the same cases.
#[derive(Debug)]
pub struct Faults<'a> {
    stage: &'a mut Stage,
    side: Side,
    cases: Seeded,
    most: u64,
    /// What the side without a fault does with the case of a number.
    real: BTreeMap<u64, Observed>,
}

impl<'a> Faults<'a> {
    /// Of one side, with so many cases.
    pub fn new(stage: &'a mut Stage, side: &Side, seed: u64, most: u64) -> Self {
        let side = Side { fault: None, ..side.clone() };
        Self { stage, side, cases: Seeded::new(seed, &[]), most, real: BTreeMap::new() }
    }

    /// Plays cases until the fault is seen.
    ///
    /// # Errors
    /// The harness's own.
    pub fn told(&mut self, fault: fn(&mut Spec)) -> Result<Told, Trouble> {
        let faulty = Side { fault: Some(fault), ..self.side.clone() };
        let mut played = 0;
        for number in 0..self.most {
            let case = self.cases.case(number)?.current();
            if broken(&Stage::config(&case), fault).is_none() {
                continue;
            }
            if !self.real.contains_key(&number) {
                let seen = self.stage.play(number, &self.side, &case)?;
                self.real.insert(number, seen);
            }
            let Some(real) = self.real.get(&number) else { continue };
            let with_fault = self.stage.play(number, &faulty, &case)?;
            played += 1;
            let first = real.differences(&with_fault).into_iter().next();
            let Some(first) = first else { continue };
            // What differs without the fault too says nothing of it.
            let again = self.stage.play(number, &self.side, &case)?;
            if real.differences(&again).iter().any(|other| other.kind() == kind(&first.field)) {
                continue;
            }
            return Ok(Told::Apart { number, field: first.field });
        }
        Ok(if played == 0 { Told::Never } else { Told::Not { played } })
    }
}
