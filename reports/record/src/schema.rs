//! JSON Schemas of the records, as they are published in `reports/schema`.

use crate::bench::Bench;
use crate::differ::Differ;
use crate::matrix::Matrix;
use crate::mutants::Mutants;
use crate::regress::Regress;
use crate::run::Run;

/// The JSON Schema of a record.
pub fn schema() -> String {
    schema_of::<Run>()
}

/// The JSON Schema of the record of a matrix.
pub fn matrix_schema() -> String {
    schema_of::<Matrix>()
}

/// The JSON Schema of a benchmark's record.
pub fn bench_schema() -> String {
    schema_of::<Bench>()
}

/// The JSON Schema of a record of mutations.
pub fn mutants_schema() -> String {
    schema_of::<Mutants>()
}

/// The JSON Schema of a record of known bugs.
pub fn regress_schema() -> String {
    schema_of::<Regress>()
}

/// The JSON Schema of a record of differences.
pub fn differ_schema() -> String {
    schema_of::<Differ>()
}

fn schema_of<T: schemars::JsonSchema>() -> String {
    serde_json::to_string_pretty(&schemars::schema_for!(T)).expect("a schema is plain JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo test -p record -- --ignored` regenerates the schema after a change of the types.
    #[test]
    #[ignore = "writes reports/schema/run.json"]
    fn write_schema() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../schema/run.json"), schema()).unwrap();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../schema/matrix.json"), matrix_schema())
            .unwrap();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../schema/bench.json"), bench_schema()).unwrap();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../schema/mutants.json"), mutants_schema())
            .unwrap();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../schema/regress.json"), regress_schema())
            .unwrap();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../schema/differ.json"), differ_schema())
            .unwrap();
    }

    #[test]
    fn the_published_schema_is_that_of_the_types() {
        let remedy = "cargo test -p record -- --ignored";
        assert_eq!(schema(), include_str!("../../schema/run.json"), "{remedy}");
        assert_eq!(matrix_schema(), include_str!("../../schema/matrix.json"), "{remedy}");
        assert_eq!(bench_schema(), include_str!("../../schema/bench.json"), "{remedy}");
        assert_eq!(mutants_schema(), include_str!("../../schema/mutants.json"), "{remedy}");
        assert_eq!(regress_schema(), include_str!("../../schema/regress.json"), "{remedy}");
        assert_eq!(differ_schema(), include_str!("../../schema/differ.json"), "{remedy}");
    }
}
