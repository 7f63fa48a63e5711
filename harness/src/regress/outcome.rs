//! Which check is tried on which version, and what that says of the bugs.

use kit::check::Check;
use record::{Case, CaseFate, KnownBug, Outcome, Unexplained, Verdict};

use super::obtain::Obtained;
use super::table::{Bug, Table};
use crate::jobs::{Job, jobs};

/// The checks of the table on each version of their programs: where the bug is, it must be found; where it is not, nothing. With
/// `without` some checks are left out.
pub fn plan(table: &Table, versions: &[Obtained], without: &[String]) -> Vec<Job> {
    let of_version = |version: &Obtained| {
        let mut checks: Vec<&'static Check> = Vec::new();
        let named =
            table.bugs.iter().filter(|bug| bug.program == version.program).flat_map(|bug| &bug.checks);
        for check in named.filter(|id| !without.contains(*id)).filter_map(|id| catalogue::find(id)) {
            if !checks.iter().any(|known| known.id == check.id) {
                checks.push(check);
            }
        }
        jobs(&checks, std::slice::from_ref(&version.subject))
    };
    versions.iter().flat_map(of_version).collect()
}

/// What the outcomes say of each bug, and failures that no bug explains.
pub fn record(
    table: &Table,
    versions: &[Obtained],
    outcomes: &[Outcome],
) -> (Vec<KnownBug>, Vec<Unexplained>) {
    let mut bugs = Vec::new();
    for bug in &table.bugs {
        let mut cases = Vec::new();
        for version in versions {
            if bug.affects(&version.program, &version.release, version.same_as.as_deref()) {
                cases.push(case(bug, &version.name, outcomes));
            }
        }
        bugs.push(KnownBug {
            id: bug.id.clone(),
            program: bug.program.clone(),
            what: bug.what.clone(),
            link: bug.link.clone(),
            checks: bug.checks.clone(),
            here: bug.here.clone(),
            cases,
        });
    }
    let explains = |bug: &KnownBug, outcome: &Outcome| {
        bug.checks.contains(&outcome.check) && bug.cases.iter().any(|case| case.version == outcome.subject)
    };
    let unexplained = outcomes
        .iter()
        .filter(|outcome| outcome.verdict == Verdict::Fail)
        .filter(|outcome| !bugs.iter().any(|bug| explains(bug, outcome)))
        .map(|outcome| Unexplained {
            version: outcome.subject.clone(),
            check: outcome.check.clone(),
            reason: outcome.reason.clone(),
        })
        .collect();
    (bugs, unexplained)
}

fn case(bug: &Bug, version: &str, outcomes: &[Outcome]) -> Case {
    let of = |fate, check: &str, reason: &str| Case {
        version: version.to_owned(),
        fate,
        check: check.to_owned(),
        reason: reason.to_owned(),
    };
    if let Some(reason) = &bug.here {
        return of(CaseFate::NotReproducible, "", reason);
    }
    let tried: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.subject == version && bug.checks.contains(&outcome.check))
        .collect();
    let found = tried.iter().find_map(|outcome| Some((outcome, missed(bug, outcome)?)));
    if let Some((outcome, missed)) = found {
        return of(CaseFate::Found, &outcome.check, missed);
    }
    if !tried.is_empty() && !tried.iter().any(|outcome| speaks_of(bug, outcome)) {
        return of(CaseFate::NoCheck, &tried[0].check, "the check does not look at this");
    }
    let settled = tried.iter().find(|outcome| {
        outcome.verdict == Verdict::Pass
            || outcome.verdict == Verdict::Fail && !outcome.evidence.expectations.is_empty()
    });
    match (settled, tried.first()) {
        (Some(outcome), _) => of(CaseFate::NotFound, &outcome.check, &outcome.reason),
        (None, Some(outcome)) => {
            let reason = format!("{}: {}", outcome.verdict.word(), outcome.reason);
            of(CaseFate::NotTried, &outcome.check, &reason)
        }
        (None, None) => of(CaseFate::NoCheck, bug.checks.first().map_or("", String::as_str), ""),
    }
}

/// How the audit after a try tells what is left on the host.
const LEFT_BEHIND: &str = "left behind: ";

/// Whether a check looked at what the bug is about; one that ended before may have been about to.
fn speaks_of(bug: &Bug, outcome: &Outcome) -> bool {
    let Some(by) = bug.by.as_ref().filter(|_| outcome.verdict == Verdict::Pass) else { return true };
    outcome.evidence.expectations.iter().any(|one| one.what.contains(by.as_str()))
}

/// The expectation by which a check found a bug, or what the audit found.
fn missed<'a>(bug: &Bug, outcome: &'a Outcome) -> Option<&'a str> {
    if outcome.verdict != Verdict::Fail {
        return None;
    }
    if bug.left_behind {
        return outcome.evidence.notes.iter().map(String::as_str).find(|note| note.starts_with(LEFT_BEHIND));
    }
    let is_of_bug = |what: &str| bug.by.as_ref().is_none_or(|by| what.contains(by.as_str()));
    let all = outcome.evidence.expectations.iter();
    all.filter(|one| !one.holds && !one.doubtful).map(|one| one.what.as_str()).find(|what| is_of_bug(what))
}

#[cfg(test)]
mod tests {
    use record::{Evidence, Expectation, Scope};

    use super::*;

    fn outcome(verdict: Verdict, missed: &[&str]) -> Outcome {
        let expectation = |what: &&str| Expectation {
            what: (*what).to_owned(),
            observed: String::new(),
            expected: String::new(),
            tolerance: String::new(),
            holds: false,
            doubtful: false,
            missed_by: None,
            control: None,
        };
        Outcome {
            check: "c".into(),
            subject: "runc-1".into(),
            scope: Scope::Runtime,
            claim: String::new(),
            source: String::new(),
            proved_by: Vec::new(),
            fault: None,
            verdict,
            reason: "why".into(),
            attempts: 1,
            duration_ms: 1,
            evidence: Evidence {
                expectations: missed.iter().map(expectation).collect(),
                ..Evidence::default()
            },
            earlier: Vec::new(),
            known: None,
        }
    }

    fn bug(text: &str) -> Bug {
        let head = "id='b'\nprogram='runc'\nwhat='w'\nlink='https://x'\naffects=[{}]\n";
        toml::from_str(&format!("{head}{text}")).unwrap()
    }

    #[test]
    fn a_bug_is_found_by_its_expectation_and_by_no_other() {
        let fate = |bug: &Bug, outcomes: &[Outcome]| case(bug, "runc-1", outcomes).fate;
        let (plain, by) = (bug("checks=['c']"), bug("checks=['c']\nby='slash'"));
        let fails = |missed: &[&str]| vec![outcome(Verdict::Fail, missed)];
        assert_eq!(fate(&plain, &fails(&["anything"])), CaseFate::Found);
        assert_eq!(fate(&by, &fails(&["mode of a"])), CaseFate::NotFound);
        assert_eq!(fate(&by, &fails(&["mode of a", "a path with a slash"])), CaseFate::Found);
        assert_eq!(fate(&plain, &fails(&[])), CaseFate::NotTried, "it broke off");
        assert_eq!(fate(&by, &[outcome(Verdict::Pass, &["mode of a"])]), CaseFate::NoCheck);
        let audited = bug("checks=['c']\nleft_behind=true");
        let mut leaves = outcome(Verdict::Fail, &[]);
        leaves.evidence.notes = vec!["left behind: cgroup /x".into()];
        assert_eq!(fate(&audited, &[leaves]), CaseFate::Found);
        assert_eq!(fate(&audited, &fails(&["anything"])), CaseFate::NotFound);
        assert_eq!(fate(&plain, &[outcome(Verdict::Pass, &[])]), CaseFate::NotFound);
        assert_eq!(fate(&plain, &[outcome(Verdict::Skip, &[])]), CaseFate::NotTried);
        assert_eq!(fate(&plain, &[]), CaseFate::NoCheck);
        assert_eq!(fate(&bug("here='needs tea'"), &fails(&["x"])), CaseFate::NotReproducible);
    }
}
