//! The records of Plimsoll: what a run, a check, a verdict and a piece of evidence are.
//!
//! The types are published as JSON Schemas (`reports/schema`) and versioned: fields are added, never changed. This crate holds
//! data and nothing else: it reads no file and shows nothing. The crate `reports` does that.
//!
//! ```
//! use record::{Counts, Outcome, Run, Verdict};
//!
//! let text = std::fs::read_to_string("../tests/data/run.json")?;
//! let run: Run = serde_json::from_str(&text)?;
//! let counts = Counts::of(run.outcomes.iter().map(Outcome::shown));
//! assert_eq!(counts.fail, run.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Fail).count());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bench;
mod differ;
pub mod matrix;
mod mutants;
mod regress;
mod run;
pub mod schema;
pub mod status;
mod verdict;

pub use differ::{DIFFER_SCHEMA_VERSION, Differ, FoundDifference, KnownDifference};
pub use mutants::{MUTANTS_SCHEMA_VERSION, Mutant, MutantFate, Mutants};
pub use regress::{Case, CaseFate, KnownBug, REGRESS_SCHEMA_VERSION, Rate, Regress, Unexplained};
pub use run::{
    Area, Evidence, Expectation, Host, KernelFile, Outcome, Proof, Run, SCHEMA_VERSION, Scope, Series,
    SubjectInfo, Try,
};
pub use verdict::{Counts, Verdict};
