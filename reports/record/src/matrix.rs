//! Runs on many kernels: one record for each row, and all of them together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::run::{Proof, Run, SCHEMA_VERSION};

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

impl Matrix {
    /// 0 if every claim held (or could not be tried) in every row; 1 if one did not; 3 if all that ran held, but a row
    /// failed or the harness had trouble.
    pub fn exit_status(&self) -> u8 {
        let status = |row: &Row| match &row.run {
            None => 3,
            Some(run) if run.is_proof() => u8::from(run.proofs(Proof::Toothless) > 0),
            Some(run) => match run.exit_status() {
                2 => 3,
                status => status,
            },
        };
        let all: Vec<u8> = self.rows.iter().map(status).collect();
        if all.contains(&1) { 1 } else { all.into_iter().max().unwrap_or(0) }
    }

    /// Puts a row in the place of the one with its name, or at the end.
    pub fn merge(&mut self, row: Row) {
        match self.rows.iter_mut().find(|known| known.name == row.name) {
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
    }
}
