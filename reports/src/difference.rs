//! What changed between two runs.

use std::collections::BTreeMap;
use std::fmt::Write;

use record::{Outcome, Run, SubjectInfo, Verdict};

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It held, and does not any more.
    Broke,
    /// It was tried, and is not any more.
    NewlySkipped,
    /// It is there now, and fails.
    NewAndFails,
    /// It did not hold, and does now.
    Mended,
    /// It could not be tried, and holds now.
    NewlyTried,
    /// It is in one of the runs alone.
    OnlyInOne,
    /// Something else, such as from pass to inconclusive.
    Other,
}

impl Change {
    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Broke => "broke",
            Self::NewlySkipped => "newly skipped",
            Self::NewAndFails => "new, and fails",
            Self::Mended => "fixed",
            Self::NewlyTried => "newly tried, and passes",
            Self::OnlyInOne => "in one run alone",
            Self::Other => "other",
        }
    }
}

/// One check that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What became of it.
    pub change: Change,
    /// The check.
    pub check: String,
    /// The subject.
    pub subject: String,
    /// Verdict before, if it was there.
    pub before: Option<Verdict>,
    /// Verdict after, if it is there.
    pub after: Option<Verdict>,
    /// Why, as the later run says; the earlier one's reason where that is gone.
    pub reason: String,
}

/// One subject of the first run beside one of the second, such as two builds of a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Its name in the first run.
    pub before: String,
    /// Its name in the second.
    pub after: String,
}

/// The pair that is meant where nothing was said: one subject in each run, of different names.
pub fn only_pair(before: &Run, after: &Run) -> Option<Pair> {
    let alone = |run: &Run| match run.subjects.as_slice() {
        [one] => Some(one.name.clone()),
        _ => None,
    };
    let pair = Pair { before: alone(before)?, after: alone(after)? };
    (pair.before != pair.after).then_some(pair)
}

/// A run has no outcomes of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchSubject {
    /// The run's id.
    pub run: String,
    /// The subject that was asked for.
    pub subject: String,
    /// Those that it has.
    pub known: Vec<String>,
}

impl std::fmt::Display for NoSuchSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { run, subject, known } = self;
        write!(f, "run {run} has no outcomes of '{subject}'; it has {}", known.join(", "))
    }
}

impl std::error::Error for NoSuchSubject {}

/// Two runs with the outcomes of these subjects and of the kernel alone, under one name. Both may be the same run.
///
/// # Errors
/// A run has no such subject.
pub fn paired(before: &Run, after: &Run, pair: &Pair) -> Result<(Run, Run), NoSuchSubject> {
    let name = format!("{} -> {}", pair.before, pair.after);
    let only = |run: &Run, subject: &str| {
        let mut run = run.clone();
        run.outcomes.retain(|outcome| outcome.subject == subject || outcome.subject == "kernel");
        if !run.outcomes.iter().any(|outcome| outcome.subject == subject) {
            let known = run.subjects.into_iter().map(|subject| subject.name).collect();
            return Err(NoSuchSubject { run: run.id, subject: subject.to_owned(), known });
        }
        run.outcomes
            .iter_mut()
            .filter(|outcome| outcome.subject == subject)
            .for_each(|outcome| outcome.subject.clone_from(&name));
        run.subjects.retain(|known| known.name == subject);
        Ok(run)
    };
    Ok((only(before, &pair.before)?, only(after, &pair.after)?))
}

/// Compares two runs. Subjects are compared by name, see [`paired`] for others; kernels may differ, which is what one usually wants
/// to see.
pub fn difference(before: &Run, after: &Run) -> Vec<Changed> {
    let key = |outcome: &Outcome| (outcome.check.clone(), outcome.subject.clone(), outcome.fault.clone());
    let old: BTreeMap<_, &Outcome> = before.outcomes.iter().map(|outcome| (key(outcome), outcome)).collect();
    let new: BTreeMap<_, &Outcome> = after.outcomes.iter().map(|outcome| (key(outcome), outcome)).collect();
    let mut all: Vec<Changed> = Vec::new();
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let (was, is) = (old.get(key), new.get(key));
        let (before, after) = (was.map(|outcome| outcome.verdict), is.map(|outcome| outcome.verdict));
        if before == after {
            continue;
        }
        let change = match (before, after) {
            (Some(Verdict::Pass), Some(Verdict::Fail)) => Change::Broke,
            (Some(Verdict::Pass | Verdict::Fail), Some(Verdict::Skip)) => Change::NewlySkipped,
            (None | Some(Verdict::Skip), Some(Verdict::Fail)) => Change::NewAndFails,
            (Some(Verdict::Fail), Some(Verdict::Pass)) => Change::Mended,
            (Some(Verdict::Skip), Some(Verdict::Pass)) => Change::NewlyTried,
            (None, _) | (_, None) => Change::OnlyInOne,
            _ => Change::Other,
        };
        let reason = is.or(was).map(|outcome| outcome.reason.clone()).unwrap_or_default();
        all.push(Changed { change, check: key.0.clone(), subject: key.1.clone(), before, after, reason });
    }
    all.sort_by(|one, other| {
        (one.change, &one.check, &one.subject).cmp(&(other.change, &other.check, &other.subject))
    });
    all
}

/// Whether a gate should close: something that held does not any more, or something new fails.
pub fn is_worse(changes: &[Changed]) -> bool {
    changes.iter().any(|changed| matches!(changed.change, Change::Broke | Change::NewAndFails))
}

/// Whether something of which a verdict was known is not known any more.
pub fn has_lost(changes: &[Changed]) -> bool {
    let is_known = |verdict: Option<Verdict>| matches!(verdict, Some(Verdict::Pass | Verdict::Fail));
    changes.iter().any(|changed| is_known(changed.before) && !is_known(changed.after))
}

/// Whether the harness had trouble in the later run with something with which it had none before.
pub fn has_trouble(changes: &[Changed]) -> bool {
    changes.iter().any(|changed| changed.after == Some(Verdict::Error))
}

/// The difference as text.
pub fn text(before: &Run, after: &Run, changes: &[Changed]) -> String {
    let mut text = format!(
        "from {} ({}) to {} ({})\n",
        before.host.kernel, before.host.cgroup_mode, after.host.kernel, after.host.cgroup_mode
    );
    for subject in &after.subjects {
        let same = |old: &&SubjectInfo| {
            old.name == subject.name || (before.subjects.len() == 1 && after.subjects.len() == 1)
        };
        let Some(old) = before.subjects.iter().find(same) else { continue };
        if old != subject {
            let _ = writeln!(
                text,
                "  {}: {} ({}) -> {} ({})",
                subject.name, old.version, old.path, subject.version, subject.path
            );
        }
    }
    if changes.is_empty() {
        text.push_str("no verdict changed\n");
        return text;
    }
    let mut last = None;
    for changed in changes {
        if last != Some(changed.change) {
            let count = changes.iter().filter(|other| other.change == changed.change).count();
            let _ = writeln!(text, "\n{} ({count})", changed.change.title());
            last = Some(changed.change);
        }
        let word = |verdict: Option<Verdict>| verdict.map_or("-", Verdict::word);
        let _ = write!(
            text,
            "  {} ({}): {} -> {}",
            changed.check,
            changed.subject,
            word(changed.before),
            word(changed.after)
        );
        let _ =
            if changed.reason.is_empty() { writeln!(text) } else { writeln!(text, ": {}", changed.reason) };
    }
    text
}
