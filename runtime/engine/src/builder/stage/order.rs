//! Which stages are built, and in which order.

use std::collections::BTreeSet;

use super::{Stages, flag};
use crate::builder::dockerfile::Op;
use crate::containers::fields_of;
use runtime::error::{Error, Result};

impl Stages<'_> {
    pub(super) fn target(&self) -> Result<usize> {
        let stages = &self.file.stages;
        let Some(wanted) = &self.build.target else { return Ok(stages.len() - 1) };
        self.stage_called(wanted, stages.len()).ok_or_else(|| {
            let names: Vec<_> = stages.iter().filter_map(|stage| stage.name.clone()).collect();
            Error::new(format!("--target {wanted}: there is no such stage"))
                .remedy(format!("there are {}", names.join(", ")))
        })
    }

    /// The number of a stage before another one, by name or number.
    pub(super) fn stage_called(&self, wanted: &str, before: usize) -> Option<usize> {
        let by_name = self.file.stages[..before]
            .iter()
            .rposition(|stage| stage.name.as_deref() == Some(&*wanted.to_lowercase()));
        by_name.or_else(|| wanted.parse().ok().filter(|number| *number < before))
    }

    /// The stages that a stage needs, in order, itself the last.
    pub(super) fn needed(&self, target: usize) -> Result<Vec<usize>> {
        let mut needed = BTreeSet::from([target]);
        for number in (0..=target).rev() {
            if !needed.contains(&number) {
                continue;
            }
            let stage = &self.file.stages[number];
            let base = self.base_of(stage)?;
            // The base is meant by name alone; a number would be an image's name.
            let by_name = self.file.stages[..number]
                .iter()
                .rposition(|other| other.name.as_deref() == Some(&*base.to_lowercase()));
            needed.extend(by_name);
            for from in stage.steps.iter().flat_map(|step| sources(&step.op)) {
                needed.extend(self.stage_called(&from, number));
            }
        }
        Ok(needed.into_iter().collect())
    }
}

/// The stages or images that an instruction takes files from.
fn sources(op: &Op) -> Vec<String> {
    match op {
        Op::Copy(copy) => flag(&copy.flags, "from").into_iter().collect(),
        Op::Run { flags, .. } => flags
            .iter()
            .filter(|(name, _)| name == "mount")
            .filter_map(|(_, value)| fields_of(value.as_deref()?).ok())
            .flatten()
            .filter_map(|field| field.strip_prefix("from=").map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}
