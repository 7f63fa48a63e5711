//! From what was seen to a verdict: first of one try, then of all tries of a check together.

use std::collections::BTreeMap;

use kit::check::{Checked, Trouble};
use record::{Evidence, Expectation, Try, Verdict};

/// How often a check is tried while the noise hides its claim.
pub const MOST_TRIES: usize = 3;

/// How many tries must say the same where the first one missed.
const ENOUGH: usize = 2;

/// The verdict of one try, and why.
///
/// A miss that no control can explain is a failure whatever came after it: neither noise nor something that turned out to
/// be missing takes it back. Trouble of the harness says nothing of the claim, but the misses before it are told.
pub fn of_try(checked: Checked, evidence: &Evidence) -> (Verdict, String) {
    let missed: Vec<&Expectation> = evidence.expectations.iter().filter(|one| !one.holds).collect();
    let is_hard = missed.iter().any(|one| !one.doubtful);
    let told = missed.iter().map(|one| in_words(one)).collect::<Vec<_>>().join("; ");
    let both = |text: String| match (text.is_empty(), told.is_empty()) {
        (_, true) => text,
        (true, false) => told.clone(),
        (false, false) => format!("{text}; before that: {told}"),
    };
    match checked {
        Err(Trouble::Harness(text)) => (Verdict::Error, both(text)),
        Err(Trouble::Subject(text)) => (Verdict::Fail, both(text)),
        Err(Trouble::Noise(text) | Trouble::Skip(text)) if is_hard => {
            (Verdict::Fail, format!("{told}; after that: {text}"))
        }
        Err(Trouble::Noise(text)) => (Verdict::Inconclusive, both(text)),
        Err(Trouble::Skip(text)) if missed.is_empty() => (Verdict::Skip, text),
        Err(Trouble::Skip(text)) => (Verdict::Inconclusive, both(text)),
        Ok(()) if is_hard => (Verdict::Fail, told),
        Ok(()) if !missed.is_empty() => (Verdict::Inconclusive, told),
        Ok(()) if evidence.expectations.is_empty() => (Verdict::Error, "the check looked at nothing".into()),
        Ok(()) => (Verdict::Pass, String::new()),
    }
}

/// What was seen and what should have been.
fn in_words(expectation: &Expectation) -> String {
    format!("{}: observed {}, expected {}", expectation.what, expectation.observed, expectation.expected)
}

/// Whether the tries so far settle the claim, so that another one would change nothing.
pub fn is_settled(tries: &[Try]) -> bool {
    let Some(last) = tries.last() else { return false };
    let kinds = kinds(tries);
    tries.len() >= MOST_TRIES
        || matches!(last.verdict, Verdict::Skip | Verdict::Error)
        || kinds.contains(&Kind::Hard)
        || (kinds.len() == 1 && kinds[0] == Kind::Pass)
        || count(&kinds, Kind::Pass) >= ENOUGH
        || count(&kinds, Kind::Beyond) >= ENOUGH
}

/// The verdict of all tries together, and why.
///
/// A miss beside a control fails the claim only if it is larger than anything that the controls of all tries saw, and not
/// in one try alone. After a miss two tries must pass.
pub fn of_all(tries: &[Try]) -> (Verdict, String) {
    let Some(last) = tries.last() else { return (Verdict::Error, "it was never tried".into()) };
    let kinds = kinds(tries);
    let reasons = || {
        let missed = tries.iter().enumerate().filter(|(_, one)| one.verdict != Verdict::Pass);
        let all: Vec<String> =
            missed.map(|(number, one)| format!("try {}: {}", number + 1, one.reason)).collect();
        if tries.len() == 1 { last.reason.clone() } else { all.join("; ") }
    };
    if kinds.contains(&Kind::Hard) {
        return (Verdict::Fail, reasons());
    }
    if matches!(last.verdict, Verdict::Error) {
        return (Verdict::Error, reasons());
    }
    if count(&kinds, Kind::Beyond) >= ENOUGH {
        return (Verdict::Fail, reasons());
    }
    if tries.len() == 1 && matches!(last.verdict, Verdict::Pass | Verdict::Skip) {
        return (last.verdict, last.reason.clone());
    }
    if count(&kinds, Kind::Pass) >= ENOUGH {
        return (Verdict::Pass, String::new());
    }
    (Verdict::Inconclusive, reasons())
}

/// What a try is, seen beside all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pass,
    /// A miss that has no control, or a subject that could not do its part.
    Hard,
    /// Every miss has a control, and at least one is larger than all that the controls of all tries saw.
    Beyond,
    /// The noise may explain it, or nothing was said.
    Doubtful,
}

fn kinds(tries: &[Try]) -> Vec<Kind> {
    let worst = worst_controls(tries);
    tries.iter().map(|one| kind(one, &worst)).collect()
}

fn kind(one: &Try, worst: &BTreeMap<&str, f64>) -> Kind {
    match one.verdict {
        Verdict::Pass => Kind::Pass,
        Verdict::Fail => {
            let missed: Vec<&Expectation> =
                one.evidence.expectations.iter().filter(|e| !e.holds && !e.doubtful).collect();
            if missed.is_empty() || missed.iter().any(|miss| miss.control.is_none()) {
                return Kind::Hard;
            }
            let is_beyond = |miss: &&Expectation| {
                let seen = worst.get(miss.what.as_str()).copied().unwrap_or(0.0);
                miss.missed_by.is_none_or(|by| by > seen)
            };
            if missed.iter().any(is_beyond) { Kind::Beyond } else { Kind::Doubtful }
        }
        Verdict::Inconclusive | Verdict::Skip | Verdict::Error => Kind::Doubtful,
    }
}

/// The worst that a control saw in any try, for each expectation.
fn worst_controls(tries: &[Try]) -> BTreeMap<&str, f64> {
    let mut worst = BTreeMap::new();
    for expectation in tries.iter().flat_map(|one| &one.evidence.expectations) {
        if let Some(control) = expectation.control {
            let known = worst.entry(expectation.what.as_str()).or_insert(control);
            *known = control.max(*known);
        }
    }
    worst
}

fn count(kinds: &[Kind], wanted: Kind) -> usize {
    kinds.iter().filter(|kind| **kind == wanted).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::notebook::Notebook;

    fn a_try(seen: Notebook, checked: Checked) -> Try {
        let (verdict, reason) = of_try(checked, &seen.0);
        Try { verdict, reason, duration_ms: 1, evidence: seen.0 }
    }

    /// A try in which a value with a band of 0 to 10 was measured beside a control.
    fn measured(value: f64, control: f64) -> Try {
        let mut seen = Notebook::default();
        seen.expect_in("time", value, 0.0..=10.0, "", control);
        a_try(seen, Ok(()))
    }

    fn verdict(tries: &[Try]) -> Verdict {
        of_all(tries).0
    }

    #[test]
    fn a_check_that_looked_at_nothing_is_an_error_and_one_broken_expectation_a_failure() {
        assert_eq!(of_try(Ok(()), &Evidence::default()).0, Verdict::Error);
        let mut seen = Notebook::default();
        seen.expect_eq("a", &1, &1);
        assert_eq!(of_try(Ok(()), &seen.0).0, Verdict::Pass);
        seen.expect_eq("b", &1, &2);
        let (verdict, reason) = of_try(Ok(()), &seen.0);
        assert_eq!(verdict, Verdict::Fail);
        assert!(reason.contains("observed 1, expected 2"), "{reason}");
    }

    #[test]
    fn neither_noise_nor_a_skip_takes_back_a_hard_miss() {
        for trouble in [Trouble::Noise, Trouble::Skip] {
            let mut seen = Notebook::default();
            seen.expect_eq("the host's file", &"changed", &"as it was");
            let (verdict, reason) = of_try(Err(trouble("too busy".into())), &seen.0);
            assert_eq!(verdict, Verdict::Fail);
            assert!(reason.contains("the host's file") && reason.contains("too busy"), "{reason}");
            assert_eq!(of_try(Err(trouble("x".into())), &Notebook::default().0).0, {
                let alone = trouble("x".into());
                if matches!(alone, Trouble::Noise(_)) { Verdict::Inconclusive } else { Verdict::Skip }
            });
        }
    }

    #[test]
    fn trouble_of_the_harness_is_an_error_that_tells_what_was_missed_before() {
        let mut seen = Notebook::default();
        seen.expect_eq("b", &1, &2);
        let (verdict, reason) = of_try(Err(Trouble::Harness("the disk is full".into())), &seen.0);
        assert_eq!(verdict, Verdict::Error);
        assert!(reason.contains("disk is full") && reason.contains("b: observed 1"), "{reason}");
    }

    #[test]
    fn two_misses_and_a_pass_are_no_pass_and_a_miss_and_two_passes_are_one() {
        let (doubt, pass) = (|| measured(11.0, 2.0), || measured(5.0, 2.0));
        assert_eq!(verdict(&[pass()]), Verdict::Pass);
        assert!(is_settled(&[pass()]) && !is_settled(&[doubt()]) && !is_settled(&[doubt(), pass()]));
        assert_eq!(verdict(&[doubt(), doubt(), pass()]), Verdict::Inconclusive);
        assert_eq!(verdict(&[doubt(), pass(), doubt()]), Verdict::Inconclusive);
        assert_eq!(verdict(&[doubt(), pass(), pass()]), Verdict::Pass);
        assert!(of_all(&[doubt(), doubt(), pass()]).1.contains("try 2: time: observed 11.00"));
    }

    #[test]
    fn a_miss_fails_only_beyond_what_the_controls_of_all_tries_saw_and_in_two_tries() {
        let beyond = || measured(15.0, 2.0);
        assert!(!is_settled(&[beyond()]), "one miss may be chance");
        assert!(is_settled(&[beyond(), beyond()]));
        assert_eq!(verdict(&[beyond(), beyond()]), Verdict::Fail);
        assert_eq!(verdict(&[measured(11.0, 2.0), beyond(), beyond()]), Verdict::Fail);
        // The third control was disturbed by more than both misses.
        assert_eq!(verdict(&[beyond(), measured(5.0, 20.0), beyond()]), Verdict::Inconclusive);
        assert_eq!(verdict(&[beyond(), measured(5.0, 2.0), measured(5.0, 2.0)]), Verdict::Pass);
    }

    #[test]
    fn a_hard_miss_of_any_try_fails() {
        let mut seen = Notebook::default();
        seen.expect_in("time", 11.0, 0.0..=10.0, "", 2.0);
        seen.expect_eq("left on the host", &1, &0);
        let hard = a_try(seen, Ok(()));
        assert!(is_settled(std::slice::from_ref(&hard)));
        assert_eq!(verdict(&[measured(11.0, 2.0), hard]), Verdict::Fail);
        let mut seen = Notebook::default();
        seen.expect_in("memory", 11.0, 0.0..=10.0, "", 0.0);
        assert_eq!(verdict(&[a_try(seen, Ok(()))]), Verdict::Fail, "without a control a miss is a miss");
    }

    #[test]
    fn what_cannot_be_tried_at_the_second_time_does_not_excuse_the_first() {
        let skip = a_try(Notebook::default(), Err(Trouble::Skip("it went away".into())));
        assert_eq!(verdict(std::slice::from_ref(&skip)), Verdict::Skip);
        assert_eq!(verdict(&[measured(11.0, 2.0), skip]), Verdict::Inconclusive);
    }
}
