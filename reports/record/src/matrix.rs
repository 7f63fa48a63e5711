//! Runs on many kernels: one record for each row, and all of them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::run::{Evidence, Host, Outcome, Run, SCHEMA_VERSION, Scope};
use crate::verdict::{Counts, Verdict};

/// All rows of a matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Matrix {
    /// Version of this form, see [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of Plimsoll.
    pub plimsoll: String,
    /// One for each kernel and layout, in the order of the list.
    pub rows: Vec<Row>,
}

/// One kernel with one cgroup layout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Version of this form, see [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the row, such as `6.1-rt-v2`.
    pub name: String,
    /// `generic` or `rt`.
    pub variant: String,
    /// `v1`, `v2` or `hybrid`, as it was asked for.
    pub layout: String,
    /// Name and version of each package that the kernel came from.
    pub packages: Vec<String>,
    /// What ran the guest's instructions: `kvm`, or `tcg` for emulation, under which times are not those of hardware.
    pub accelerator: String,
    /// From the start of the machine to the guest's first process, in milliseconds; 0 if it never ran.
    pub boot_ms: u64,
    /// From the start of the machine to the start of the first check, in milliseconds; 0 if none was started.
    pub first_check_ms: u64,
    /// From the start of the machine to its end, in milliseconds.
    pub duration_ms: u64,
    /// Why the row has no record of a run; empty if it has one.
    pub failure: String,
    /// The console's last lines, if the row failed.
    pub console: Vec<String>,
    /// What the checks said.
    pub run: Option<Run>,
}

/// What stands for the row itself where only checks are listed.
pub const ROW_CHECK: &str = "matrix.row";

impl Row {
    /// A row that could not even be started.
    pub fn failed(name: &str, variant: &str, layout: &str, failure: String) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            name: name.into(),
            variant: variant.into(),
            layout: layout.into(),
            packages: Vec::new(),
            accelerator: String::new(),
            boot_ms: 0,
            first_check_ms: 0,
            duration_ms: 0,
            failure,
            console: Vec::new(),
            run: None,
        }
    }
}

impl Row {
    /// What its checks said. A row without a run becomes a run of one outcome, an error with the row's failure, so that no form
    /// of a report can lose it.
    pub fn to_run(&self) -> Run {
        if let Some(run) = &self.run {
            return run.clone();
        }
        let outcome = Outcome {
            check: ROW_CHECK.to_owned(),
            subject: "kernel".to_owned(),
            scope: Scope::Kernel,
            claim: format!("row {} starts and runs the checks", self.name),
            source: String::new(),
            proved_by: Vec::new(),
            fault: None,
            verdict: Verdict::Error,
            reason: if self.failure.is_empty() {
                "it has no record of a run".to_owned()
            } else {
                self.failure.clone()
            },
            attempts: 1,
            duration_ms: self.duration_ms,
            evidence: Evidence { notes: self.console.clone(), ..Evidence::default() },
            earlier: Vec::new(),
            known: None,
        };
        Run {
            schema_version: self.schema_version,
            id: format!("row-{}", self.name),
            plimsoll: String::new(),
            started: String::new(),
            duration_ms: self.duration_ms,
            host: Host { kernel: self.name.clone(), cgroup_mode: self.layout.clone(), ..Host::default() },
            subjects: Vec::new(),
            outcomes: vec![outcome],
            left_behind: Vec::new(),
        }
    }
}

impl Matrix {
    /// Counts the verdicts of all rows as reports show them; a row without a run is one error.
    pub fn shown_counts(&self) -> Counts {
        let runs = self.rows.iter().map(Row::to_run).collect::<Vec<_>>();
        Counts::of(runs.iter().flat_map(|run| &run.outcomes).map(Outcome::shown))
    }

    /// The exit status that all rows together mean; see [`crate::status`]. A row without a run is trouble.
    pub fn exit_status(&self) -> u8 {
        self.exit_status_if(crate::status::Require::default())
    }

    /// The same, if so many claims must have been settled.
    pub fn exit_status_if(&self, require: crate::status::Require) -> u8 {
        let left = self.rows.iter().filter_map(|row| row.run.as_ref()).any(|run| !run.left_behind.is_empty());
        let runs = self.rows.iter().map(Row::to_run).collect::<Vec<_>>();
        let counts = Counts::of(runs.iter().flat_map(|run| &run.outcomes).map(Outcome::weighed));
        crate::status::of(counts, left, require)
    }

    /// Puts a row in the place of the one with its name, or at the end.
    pub fn merge(&mut self, row: Row) {
        match self.rows.iter_mut().find(|known| known.name == row.name) {
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
    }
}
