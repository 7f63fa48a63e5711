//! Every seed is read without harm: those that the search starts from, and findings that were fixed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fuzz::{Bounded, TARGETS};

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    files
}

#[test]
fn every_target_has_seeds_and_every_directory_of_seeds_a_target() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let dirs: BTreeSet<String> =
        files(&corpus()).iter().map(|dir| dir.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(dirs, names);
    for target in TARGETS {
        assert!(!files(&corpus().join(target.name)).is_empty(), "{} has no seed", target.name);
    }
}

#[test]
fn seeds_whole_and_cut_short_are_read_without_harm() {
    for target in TARGETS {
        for path in files(&corpus().join(target.name)) {
            let bytes = fs::read(&path).unwrap();
            eprintln!("{}", path.display());
            (target.run)(&bytes);
            for part in 1..4 {
                (target.run)(&bytes[..bytes.len() * part / 4]);
            }
        }
    }
}
