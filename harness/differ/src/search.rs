//! The search: cases on all sides, what differs, and the smallest case that still shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kit::trouble::Trouble;
use kit::turn::{Turn, USUAL_PATIENCE, Waiting};
use record::SubjectInfo;

use crate::area::Area;
use crate::candidate::{Against, Candidate};
use crate::case::Case;
use crate::file::Stored;
use crate::generate::{Seeded, Tree};
use crate::known::Known;
use crate::observed::{Observed, kind};
use crate::oracle;
use crate::side::Side;
use crate::stage::Stage;

/// What a stored case is compared with.
const EXPECTED: &str = "the file of the case";

/// What each side was seen to do, by its name.
pub type Seen = Vec<(String, Observed)>;

/// How far a search goes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed of the cases.
    pub seed: u64,
    /// How many cases at most.
    pub cases: u64,
    /// How long at most.
    pub time: Option<Duration>,
    /// The areas that are searched; all if there is none.
    pub only: Vec<Area>,
    /// How many smaller cases are tried for one difference.
    pub shrinking: u32,
}

/// A difference with the smallest case that shows it.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What differs.
    pub what: Candidate,
    /// All that differs in the smallest case, for the same subjects.
    pub all: Vec<Candidate>,
    /// The smallest case.
    pub case: Case,
    /// The number of the case in which it was seen first.
    pub number: u64,
    /// In how many cases it was seen.
    pub times: u64,
    /// The number of the last of these.
    pub last: u64,
    /// What each side was seen to do with the smallest case.
    pub seen: Seen,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Searched {
    /// How many cases were played.
    pub cases: u64,
    /// Differences that nobody knew.
    pub found: Vec<Finding>,
    /// Known ones: subject, pattern, reason, link; and in how many cases.
    pub known: BTreeMap<[String; 4], u64>,
    /// Fields that were another the second time.
    pub unsteady: BTreeSet<String>,
}

impl Searched {
    /// Adds what another search found.
    pub fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.found.extend(other.found);
        for (key, times) in other.known {
            *self.known.entry(key).or_default() += times;
        }
        self.unsteady.extend(other.unsteady);
    }
}

/// Who is told how a search goes on.
pub trait Watch {
    /// A case was played.
    fn played(&mut self, searched: &Searched);
    /// A difference is being made smaller.
    fn shrinking(&mut self, field: &str);
    /// A difference was found.
    fn found(&mut self, finding: &Finding, sides: &[Side]);
    /// Whether the search should end.
    fn is_over(&self) -> bool;
}

/// A search that goes on.
#[derive(Debug)]
pub struct Search<'a> {
    stage: &'a mut Stage,
    sides: &'a [Side],
    known: &'a Known,
    searched: Searched,
}

impl<'a> Search<'a> {
    /// Of these sides: the others are compared with the first, and each with the specification.
    pub fn new(stage: &'a mut Stage, sides: &'a [Side], known: &'a Known) -> Self {
        Self { stage, sides, known, searched: Searched::default() }
    }

    /// Plays generated cases until the plan ends. What was found comes back also if there was trouble.
    pub fn run(mut self, plan: &Plan, watch: &mut dyn Watch) -> (Searched, Option<Trouble>) {
        let cases = Seeded::new(plan.seed, &plan.only);
        let end = plan.time.map(|time| Instant::now() + time);
        for number in 0..plan.cases {
            if watch.is_over() || end.is_some_and(|end| Instant::now() >= end) {
                break;
            }
            if let Err(trouble) = self.one(number, &cases, plan.shrinking, watch) {
                return (self.searched, Some(trouble));
            }
            self.searched.cases += 1;
            watch.played(&self.searched);
        }
        (self.searched, None)
    }

    /// Plays one stored case as it is, and tells all that differs, also from what its file expects of the first side.
    ///
    /// # Errors
    /// The harness's own.
    pub fn replay(
        mut self,
        number: u64,
        stored: &Stored,
        watch: &mut dyn Watch,
    ) -> Result<Searched, Trouble> {
        let case = &stored.case;
        let (mut candidates, seen) = self.candidates(number, case, None)?;
        let missed = seen.first().map(|(_, first)| stored.missed(first)).unwrap_or_default();
        candidates.extend(missed.into_iter().map(|(field, expected, observed)| Candidate {
            side: 0,
            against: Against::Specification(EXPECTED),
            field,
            expected: Some(expected),
            observed: Some(observed),
        }));
        let asked = case.fields();
        for what in candidates {
            if self.count_known(&what, &asked) || self.fold(number, &what, &asked) {
                continue;
            }
            let all = vec![what.clone()];
            let finding =
                Finding { what, all, case: case.clone(), number, times: 1, last: number, seen: seen.clone() };
            watch.found(&finding, self.sides);
            self.searched.found.push(finding);
        }
        self.searched.cases += 1;
        Ok(self.searched)
    }

    fn one(&mut self, number: u64, cases: &Seeded, most: u32, watch: &mut dyn Watch) -> Result<(), Trouble> {
        // Checks that measure time have the host for themselves between two cases.
        let waiting = Waiting { patience: USUAL_PATIENCE, told: &|_| {}, is_over: &|| watch.is_over() };
        let _turn = Turn::wait(false, waiting)?;
        let case = cases.case(number)?.current();
        let (candidates, _) = self.candidates(number, &case, None)?;
        let asked = case.fields();
        for what in candidates {
            if watch.is_over() {
                return Ok(());
            }
            if self.count_known(&what, &asked) || self.fold(number, &what, &asked) {
                continue;
            }
            watch.shrinking(&what.field);
            if !self.shows(number, &case, &what)? {
                self.searched.unsteady.insert(kind(&what.field));
                continue;
            }
            let tree = cases.case(number)?;
            let smallest = self.shrink(number, tree, &what, most, watch)?;
            let (all, seen) = self.candidates(number, &smallest, Some(&what))?;
            let what = all.iter().find(|one| one.is_like(&what)).cloned().unwrap_or(what);
            let finding = Finding { what, all, case: smallest, number, times: 1, last: number, seen };
            watch.found(&finding, self.sides);
            self.searched.found.push(finding);
        }
        Ok(())
    }

    /// All that is not as it should be: on every side, or on those that a difference is about.
    fn candidates(
        &mut self,
        number: u64,
        case: &Case,
        about: Option<&Candidate>,
    ) -> Result<(Vec<Candidate>, Seen), Trouble> {
        let config = Stage::config(case);
        let mut found = Vec::new();
        let mut seen: Vec<Option<Observed>> = vec![None; self.sides.len()];
        for (index, side) in self.sides.iter().enumerate() {
            let is_needed =
                about.is_none_or(|what| what.side == index || what.against == Against::Side(index));
            if is_needed {
                seen[index] = Some(self.stage.play(number, side, case)?);
            }
        }
        for (index, observed) in seen.iter().enumerate() {
            if let Some(observed) = observed {
                found.extend(oracle::judge(index, case, &config, observed));
            }
        }
        if let Some(Some(first)) = seen.first() {
            for (index, observed) in seen.iter().enumerate().skip(1) {
                let Some(observed) = observed else { continue };
                for difference in first.differences(observed) {
                    // The specification has decided who is wrong.
                    if found.iter().any(|lie| lie.field == difference.field && [0, index].contains(&lie.side))
                    {
                        continue;
                    }
                    found.push(Candidate {
                        side: index,
                        against: Against::Side(0),
                        field: difference.field,
                        expected: difference.first,
                        observed: difference.other,
                    });
                }
            }
        }
        if let Some(what) = about {
            found.retain(|one| one.side == what.side && one.against == what.against);
        }
        let names = self.sides.iter().map(|side| side.info.name.clone());
        let seen = names.zip(seen).filter_map(|(name, seen)| Some((name, seen?))).collect();
        Ok((found, seen))
    }

    /// Whether a case shows a difference like this one that nobody knows.
    fn shows(&mut self, number: u64, case: &Case, what: &Candidate) -> Result<bool, Trouble> {
        let (found, _) = self.candidates(number, case, Some(what))?;
        let asked = case.fields();
        Ok(found.iter().any(|one| one.is_like(what) && self.entry(one, &asked).is_none()))
    }

    fn shrink(
        &mut self,
        number: u64,
        mut tree: Tree,
        what: &Candidate,
        most: u32,
        watch: &mut dyn Watch,
    ) -> Result<Case, Trouble> {
        let mut best = tree.current();
        let mut left = most;
        if !tree.simplify() {
            return Ok(best);
        }
        while left > 0 && !watch.is_over() {
            left -= 1;
            let case = tree.current();
            let goes_on = if self.shows(number, &case, what)? {
                best = case;
                tree.simplify()
            } else {
                tree.complicate()
            };
            if !goes_on {
                break;
            }
        }
        Ok(best)
    }

    fn entry(&self, what: &Candidate, asked: &BTreeSet<String>) -> Option<&crate::known::Entry> {
        let mut subjects: Vec<&SubjectInfo> = vec![&self.sides[what.side].info];
        if let Against::Side(other) = what.against {
            subjects.push(&self.sides[other].info);
        }
        self.known.find(&what.field, &subjects, asked)
    }

    fn count_known(&mut self, what: &Candidate, asked: &BTreeSet<String>) -> bool {
        let Some(entry) = self.entry(what, asked) else { return false };
        let name = self.sides[what.side].info.name.clone();
        let key = [name, entry.field.clone(), entry.reason.clone(), entry.link.clone()];
        *self.searched.known.entry(key).or_default() += 1;
        true
    }

    /// Whether a difference was found already, by another case of the same kind.
    fn fold(&mut self, number: u64, what: &Candidate, asked: &BTreeSet<String>) -> bool {
        let same = self
            .searched
            .found
            .iter_mut()
            .find(|finding| what.is_explained_by(&finding.all, &finding.case.fields(), asked));
        if let Some(finding) = same {
            finding.times += u64::from(finding.last != number);
            finding.last = number;
            return true;
        }
        false
    }
}
