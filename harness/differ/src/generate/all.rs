//! A whole case: several edits of any area, so that rare fields meet.

use kit::trouble::Trouble;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::edit::Edits;
use super::{hooks, linux, mounts, namespaces, process, resources, rootfs, seccomp, steps, terms, wrong};
use crate::area::Area;
use crate::case::Case;

/// The most edits of a case.
const MOST_EDITS: usize = 6;

/// Edits of one area, and how often they are taken.
fn of(area: Area) -> Option<(u32, Edits)> {
    Some(match area {
        Area::Namespaces => (5, namespaces::namespaces()),
        Area::Users => (2, namespaces::users()),
        Area::Mounts => (10, mounts::mounts()),
        Area::Root => (3, mounts::root()),
        Area::Caps => (5, process::caps()),
        Area::Rlimits => (4, process::rlimits()),
        Area::User => (5, process::user()),
        Area::Env => (4, process::env()),
        Area::Cwd => (3, process::cwd()),
        Area::Args => (2, process::args()),
        Area::Paths => (5, linux::paths()),
        Area::Sysctl => (4, linux::sysctl()),
        Area::Devices => (5, linux::devices()),
        Area::Seccomp => (4, seccomp::seccomp()),
        Area::Memory => (3, resources::memory()),
        Area::Cpu => (4, resources::cpu()),
        Area::Pids => (3, resources::pids()),
        Area::Terms => (6, terms::terms()),
        Area::Names => (2, terms::names()),
        Area::Hooks => (4, hooks::hooks()),
        Area::Wrong | Area::Rootfs | Area::Steps => return None,
    })
}

/// Cases of these areas; all if none is given.
fn cases(only: &[Area]) -> BoxedStrategy<Case> {
    let takes = |area: Area| only.is_empty() || only.contains(&area);
    let valid: Vec<(u32, Edits)> =
        Area::ALL.iter().copied().filter(|area| takes(*area)).filter_map(of).collect();
    let edits = if valid.is_empty() {
        Just(Vec::new()).boxed()
    } else {
        vec(Union::new_weighted(valid), 0..=MOST_EDITS).boxed()
    };
    // One of eight is wrong in one place, unless nothing else was asked for.
    let wrongs = match (takes(Area::Wrong), only == [Area::Wrong]) {
        (false, _) => Just(Vec::new()).boxed(),
        (true, true) => vec(wrong::wrong(), 1).boxed(),
        (true, false) => prop_oneof![7 => Just(Vec::new()), 1 => vec(wrong::wrong(), 1)].boxed(),
    };
    let entries = if takes(Area::Rootfs) {
        prop_oneof![4 => Just(Vec::new()), 1 => vec(rootfs::entries(), 1..=2)].boxed()
    } else {
        Just(Vec::new()).boxed()
    };
    let operations = if takes(Area::Steps) {
        let of_a_process = Union::new_weighted(vec![
            (4, process::user()),
            (3, process::caps()),
            (3, process::env()),
            (2, process::cwd()),
            (2, process::rlimits()),
            (3, terms::terms()),
        ]);
        let several = vec(steps::steps(of_a_process.boxed()), 1..=3);
        prop_oneof![2 => Just(Vec::new()), 1 => several].boxed()
    } else {
        Just(Vec::new()).boxed()
    };
    (edits, wrongs, entries, operations)
        .prop_map(|(mut edits, wrongs, rootfs, steps)| {
            edits.extend(wrongs);
            Case { edits, rootfs, steps: steps.concat() }
        })
        .boxed()
}

/// A generated case that can be made simpler.
pub(crate) type Tree = Box<dyn ValueTree<Value = Case>>;

/// Cases from a seed: each can be made again by its number alone.
#[derive(Debug)]
pub struct Seeded {
    seed: u64,
    strategy: BoxedStrategy<Case>,
}

impl Seeded {
    /// Of these areas; all if none is given.
    pub fn new(seed: u64, only: &[Area]) -> Self {
        Self { seed, strategy: cases(only) }
    }

    /// The case with this number.
    ///
    /// # Errors
    /// The strategy rejects too much.
    pub fn case(&self, number: u64) -> Result<Tree, Trouble> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let configuration = Config { failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(configuration, rng);
        self.strategy.new_tree(&mut runner).map_err(|reason| Trouble::Harness(reason.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_and_a_number_are_one_case() {
        let (first, second) = (Seeded::new(7, &[]), Seeded::new(7, &[]));
        for number in 0..20 {
            assert_eq!(first.case(number).unwrap().current(), second.case(number).unwrap().current());
        }
        let other = Seeded::new(8, &[]).case(0).unwrap().current();
        assert_ne!(first.case(0).unwrap().current(), other);
    }

    #[test]
    fn every_area_is_reached_and_alone_if_asked_for() {
        let all = Seeded::new(1, &[]);
        let mut seen: BTreeSet<Area> = BTreeSet::new();
        for number in 0..400 {
            let case = all.case(number).unwrap().current();
            seen.extend(case.edits.iter().map(|edit| edit.area));
            seen.extend((!case.rootfs.is_empty()).then_some(Area::Rootfs));
            seen.extend((!case.steps.is_empty()).then_some(Area::Steps));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), Area::ALL);
        for area in [Area::Mounts, Area::Wrong] {
            let case = Seeded::new(1, &[area]).case(3).unwrap().current();
            assert!(!case.edits.is_empty() && case.edits.iter().all(|edit| edit.area == area), "{area}");
            assert!(case.rootfs.is_empty() && case.steps.is_empty());
        }
    }

    #[test]
    fn a_case_survives_its_file() {
        let all = Seeded::new(3, &[]);
        for number in 0..50 {
            let case = all.case(number).unwrap().current();
            let text = serde_json::to_string(&case).unwrap();
            assert_eq!(serde_json::from_str::<Case>(&text).unwrap(), case);
        }
    }
}
