//! The catch rate: which known bugs the checks find, and which small mutations of what they ask for they notice.

use std::fmt::Write;

use record::{CaseFate, KnownBug, MutantFate, Mutants, Regress};

/// For a terminal: what was not found, and the rates.
pub fn table(found: &Regress) -> String {
    let mut out = String::new();
    for (version, why) in &found.missing {
        let _ = writeln!(out, "{version}: {why}");
    }
    for bug in &found.bugs {
        for case in &bug.cases {
            let _ = write!(out, "{:22} {:18} {}", case.fate.words(), case.version, bug.id);
            let more = if case.check.is_empty() { String::new() } else { format!(" ({})", case.check) };
            let why = if case.reason.is_empty() {
                String::new()
            } else {
                format!(": {}", first_line(&case.reason))
            };
            let _ = writeln!(out, "{more}{why}");
        }
    }
    for red in &found.unexplained {
        let _ = writeln!(
            out,
            "{:22} {:18} {}: {}",
            "unexplained",
            red.version,
            red.check,
            first_line(&red.reason)
        );
    }
    let _ = writeln!(
        out,
        "\nfound {} bugs and {} cases of bug and version",
        found.bugs_found(),
        found.cases_found()
    );
    out
}

/// The document `docs/catch-rate.md`.
pub fn document(found: &Regress, mutants: Option<&Mutants>) -> String {
    let mut out = String::from(
        "# The catch rate\n\nWritten by `plimsoll regress --document docs/catch-rate.md --mutants RECORD`. What the checks of the catalogue find: bugs that\n\
         runtimes really had, in the versions that have them, and small mutations of what a check asks for.\n\n",
    );
    let _ = writeln!(
        out,
        "| | found | |\n|---|---|---|\n| known bugs, each once | {} | of those that can be reproduced here |\n| cases of bug and version | {} | \
         the same |",
        found.bugs_found(),
        found.cases_found()
    );
    if let Some(mutants) = mutants {
        let (caught, matter) = mutants.score();
        let percent = (caught * 100).checked_div(matter).unwrap_or(0);
        let _ = writeln!(
            out,
            "| mutations | {caught} of {matter} ({percent} %) | of those that change what a claim speaks of |"
        );
    }
    let names: Vec<String> = found.versions.iter().map(|version| version.name.clone()).collect();
    let _ = writeln!(
        out,
        "\nVersions: {}. Linux {}, cgroup {}. A bug is found if its check fails by an expectation that does not hold.\n",
        names.join(", "),
        found.host.kernel,
        found.host.cgroup_mode
    );
    for (version, why) in &found.missing {
        let _ = writeln!(out, "- {version} could not be had: {}", cell(why));
    }
    bugs(&mut out, found);
    if let Some(mutants) = mutants {
        mutations(&mut out, mutants);
    }
    out
}

fn bugs(out: &mut String, found: &Regress) {
    let _ =
        writeln!(out, "## Known bugs\n\n| bug | what | versions | check | found |\n|---|---|---|---|---|");
    for bug in &found.bugs {
        let Some(fate) = bug.fate() else { continue };
        let versions: Vec<String> = bug.cases.iter().map(|case| told(case.fate, &case.version)).collect();
        let _ = writeln!(
            out,
            "| [{}]({}) | {} | {} | {} | {} |",
            bug.id,
            link(bug),
            cell(&bug.what),
            versions.join(", "),
            bug.checks.join(", "),
            bug.here
                .as_ref()
                .map_or_else(|| fate.words().to_owned(), |why| format!("not here: {}", cell(why)))
        );
    }
    let none: Vec<&str> =
        found.bugs.iter().filter(|bug| bug.cases.is_empty()).map(|bug| bug.id.as_str()).collect();
    if !none.is_empty() {
        let _ = writeln!(out, "\nNo version here has these: {}.", none.join(", "));
    }
    if !found.unexplained.is_empty() {
        let _ = writeln!(out, "\n## Failures that no bug of the table explains\n");
        for red in &found.unexplained {
            let _ = writeln!(out, "- {} on {}: {}", red.check, red.version, cell(first_line(&red.reason)));
        }
    }
}

/// A version by which it was not found stands out.
fn told(fate: CaseFate, version: &str) -> String {
    match fate {
        CaseFate::NotFound | CaseFate::NotTried => format!("**{version}**"),
        _ => version.to_owned(),
    }
}

/// Links are written as seen from the repository's root.
fn link(bug: &KnownBug) -> String {
    bug.link.strip_prefix("docs/").map_or_else(|| bug.link.clone(), str::to_owned)
}

fn mutations(out: &mut String, mutants: &Mutants) {
    let _ = writeln!(
        out,
        "\n## Mutations\n\nOn {} ({}), seed {}, at most {} of each check.\n\n| | |\n|---|---|",
        mutants.subject.name,
        cell(&mutants.subject.version),
        mutants.seed,
        mutants.most
    );
    for fate in MutantFate::ALL {
        let _ = writeln!(out, "| {} | {} |", fate.words().to_lowercase(), mutants.count(fate));
    }
    let left = mutants.mutants.iter().filter(|one| one.fate.matters() && one.fate != MutantFate::Found);
    let _ = writeln!(out, "\nNot noticed:\n");
    for mutant in left {
        let _ = writeln!(
            out,
            "- {}, {}: `{}`",
            mutant.check,
            mutant.fate.words().to_lowercase(),
            short(&mutant.to_string())
        );
    }
    if !mutants.without.is_empty() {
        let ids: Vec<&str> = mutants.without.iter().map(|(id, _)| id.as_str()).collect();
        let _ = writeln!(
            out,
            "\nLeft out, because they did not pass without a mutation there: {}.",
            ids.join(", ")
        );
    }
}

fn first_line(text: &str) -> &str {
    let end = text.char_indices().nth(160).map_or(text.len(), |(at, _)| at);
    text[..end].lines().next().unwrap_or_default()
}

fn short(text: &str) -> String {
    let mut cut: String = text.chars().take(160).collect();
    if cut.len() < text.len() {
        cut.push_str(" ...");
    }
    cut.replace('`', "'")
}

/// Text as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use record::{Case, Host, REGRESS_SCHEMA_VERSION};

    use super::*;

    fn known(fates: &[CaseFate]) -> KnownBug {
        KnownBug {
            id: "b".into(),
            program: "runc".into(),
            what: "a|b".into(),
            link: "docs/findings.md".into(),
            checks: vec!["c".into()],
            here: None,
            cases: fates
                .iter()
                .map(|fate| Case {
                    version: "v".into(),
                    fate: *fate,
                    check: String::new(),
                    reason: String::new(),
                })
                .collect(),
        }
    }

    #[test]
    fn a_bug_counts_once_and_what_cannot_be_seen_here_does_not() {
        let found = Regress {
            schema_version: REGRESS_SCHEMA_VERSION,
            plimsoll: String::new(),
            started: String::new(),
            host: Host::default(),
            versions: Vec::new(),
            missing: Vec::new(),
            bugs: vec![
                known(&[CaseFate::Found, CaseFate::NotFound]),
                known(&[CaseFate::NoCheck]),
                known(&[CaseFate::NotReproducible]),
                known(&[]),
            ],
            unexplained: Vec::new(),
        };
        assert_eq!((found.bugs_found().found, found.bugs_found().of), (1, 2));
        assert_eq!((found.cases_found().found, found.cases_found().of), (1, 3));
        let text = document(&found, None);
        assert!(
            text.contains("1 of 2 (50 %)") && text.contains("[b](findings.md) | a\\|b | v, **v**"),
            "{text}"
        );
    }
}
