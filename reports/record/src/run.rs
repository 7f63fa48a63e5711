//! The record types. They are published (`reports/schema/run.json`) and versioned: fields are added, never changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verdict::{Counts, Verdict};

/// Version of the record's form. A reader refuses a larger one.
pub const SCHEMA_VERSION: u32 = 1;

/// One run of checks on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Version of this form, see [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run's id, which is also part of the name of everything that it made on the host.
    pub id: String,
    /// Version of Plimsoll.
    pub plimsoll: String,
    /// When it started, by RFC 3339.
    pub started: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Where it ran.
    pub host: Host,
    /// What was checked.
    pub subjects: Vec<SubjectInfo>,
    /// One outcome for each check and subject (for kernel checks: each check).
    pub outcomes: Vec<Outcome>,
    /// What the run left on the host, found when all was over. Empty is right.
    pub left_behind: Vec<String>,
}

/// The machine of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// `uname -r`
    pub kernel: String,
    /// `uname -m`
    pub architecture: String,
    /// `v1`, `v2`, `hybrid` or `none`.
    pub cgroup_mode: String,
    /// Each controller and the version of the hierarchy that owns it, as in `cpu=v1`.
    pub controllers: Vec<String>,
    /// CPUs that the run may use.
    pub cpus: usize,
    /// Physical memory in bytes.
    pub memory_bytes: u64,
    /// The hypervisor, as far as the machine tells; empty on bare metal.
    pub virtualization: String,
    /// Whether the run had root's rights.
    pub privileged: bool,
}

/// A container runtime that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubjectInfo {
    /// Name in the outcomes.
    pub name: String,
    /// Path of its program.
    pub path: String,
    /// First line of its `--version`.
    pub version: String,
}

/// What a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// A primitive of the kernel.
    Kernel,
    /// A low-level runtime, which takes an OCI bundle.
    Runtime,
    /// An engine, which has images and volumes.
    Engine,
}

/// The first part of a check's id; tables are grouped by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Area(pub String);

/// One check, tried against one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// The check's stable id, such as `cpu.quota.20-percent`.
    pub check: String,
    /// The subject's name, or `kernel`.
    pub subject: String,
    /// What the check looks at.
    pub scope: Scope,
    /// What is claimed.
    pub claim: String,
    /// The document that says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Names of the faults under which the check must fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proved_by: Vec<String>,
    /// The fault that the subject was broken with on purpose, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What is said of the claim.
    pub verdict: Verdict,
    /// Why, in one line; empty for a plain pass.
    pub reason: String,
    /// Where the failure is described, if a file of expected failures (`--known`) names it. It is not counted in the exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// How often it was tried (more than once where the first try was inconclusive).
    pub attempts: u32,
    /// How long the last try took, in milliseconds.
    pub duration_ms: u64,
    /// What the verdict rests on.
    pub evidence: Evidence,
    /// The tries before the last one, in order, each with its own evidence. All of them count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Try>,
}

/// One try of a check that was tried more than once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Try {
    /// What this try alone says.
    pub verdict: Verdict,
    /// Why, in one line.
    pub reason: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What it saw.
    pub evidence: Evidence,
}

/// What a run under a fault shows of its check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It went red, by an expectation that did not hold: it can fail.
    Red,
    /// It stayed green, or failed without having looked at anything: it proves nothing.
    Toothless,
    /// It could not be tried, or the noise hid it.
    NotTried,
}

impl Outcome {
    /// The verdict as every report shows and counts it. Under a fault it is one on the check: it passes if it fails as it must,
    /// and fails if the fault did not make it.
    pub fn shown(&self) -> Verdict {
        match self.proof() {
            None => self.verdict,
            Some(Proof::Red) => Verdict::Pass,
            Some(Proof::Toothless) => Verdict::Fail,
            Some(Proof::NotTried) if self.verdict == Verdict::Error => Verdict::Error,
            Some(Proof::NotTried) => Verdict::Skip,
        }
    }

    /// The verdict as exit statuses count it: a failure that is expected is none.
    pub fn weighed(&self) -> Verdict {
        match self.shown() {
            Verdict::Fail if self.known.is_some() => Verdict::Pass,
            shown => shown,
        }
    }

    /// What this outcome shows of the check; `None` if it was no run under a fault.
    pub fn proof(&self) -> Option<Proof> {
        self.fault.as_ref()?;
        // A subject that did not start at all says nothing of the check.
        let looked = self.evidence.expectations.iter().any(|expectation| !expectation.holds);
        Some(match self.verdict {
            Verdict::Fail if looked => Proof::Red,
            Verdict::Skip | Verdict::Error | Verdict::Inconclusive => Proof::NotTried,
            Verdict::Pass | Verdict::Fail => Proof::Toothless,
        })
    }

    /// The check's area.
    pub fn area(&self) -> Area {
        Area(self.check.split('.').next().unwrap_or_default().to_owned())
    }
}

/// What a verdict rests on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What was expected and what was observed.
    pub expectations: Vec<Expectation>,
    /// Measured samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Series>,
    /// Kernel files, as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<KernelFile>,
    /// Remarks and messages of the subject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One thing that must hold for the claim to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// What was looked at.
    pub what: String,
    /// What was seen.
    pub observed: String,
    /// What should have been seen.
    pub expected: String,
    /// Where a tolerance comes from; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tolerance: String,
    /// Whether it held.
    pub holds: bool,
    /// It did not hold, and the disturbance that was measured beside it is enough to explain that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubtful: bool,
    /// By how much it missed its band, where a control ran beside the measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_by: Option<f64>,
    /// How far this machine could move the value by itself, as the control saw it; in the unit of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<f64>,
}

/// Samples of one quantity, in the order in which they were taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// What was measured.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The samples.
    pub values: Vec<f64>,
}

/// A kernel file's text at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelFile {
    /// Its path.
    pub path: String,
    /// When it was read, such as `before` or `after`.
    pub moment: String,
    /// Its text.
    pub text: String,
}

impl Run {
    /// Counts the verdicts.
    pub fn counts(&self) -> Counts {
        Counts::of(self.outcomes.iter().map(|outcome| outcome.verdict))
    }

    /// Counts the verdicts as reports show them.
    pub fn shown_counts(&self) -> Counts {
        Counts::of(self.outcomes.iter().map(Outcome::shown))
    }

    /// Whether it ran checks under their faults.
    pub fn is_proof(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.fault.is_some())
    }

    /// How many of its outcomes prove this.
    pub fn proofs(&self, proof: Proof) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.proof() == Some(proof)).count()
    }

    /// The exit status that this run means; see [`crate::status`]. A run under faults is one on its checks.
    pub fn exit_status(&self) -> u8 {
        self.exit_status_if(crate::status::Require::default())
    }

    /// The same, if so many claims must have been settled.
    pub fn exit_status_if(&self, require: crate::status::Require) -> u8 {
        let counts = Counts::of(self.outcomes.iter().map(Outcome::weighed));
        crate::status::of(counts, !self.left_behind.is_empty(), require)
    }
}
