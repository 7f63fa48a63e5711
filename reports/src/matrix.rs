//! Runs on many kernels, side by side.

use std::collections::BTreeMap;
use std::fmt::Write;

use record::matrix::Matrix;
use record::{Proof, Verdict};

/// Checks by rows: a line for each check, a column for each row; below it what is not a pass or a skip, and which rows
/// failed.
pub fn table(matrix: &Matrix) -> String {
    let mut text = String::new();
    let mut checks: BTreeMap<(usize, &str), Vec<Option<Verdict>>> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for (column, row) in matrix.rows.iter().enumerate() {
        for outcome in row.run.iter().flat_map(|run| &run.outcomes) {
            let place = order.iter().position(|known| *known == outcome.check).unwrap_or_else(|| {
                order.push(&outcome.check);
                order.len() - 1
            });
            let cells =
                checks.entry((place, &outcome.check)).or_insert_with(|| vec![None; matrix.rows.len()]);
            // Several subjects, or several faults, share a cell: the worst is shown.
            let verdicts = cells[column].into_iter().chain([outcome.shown()]);
            cells[column] = verdicts.max_by_key(|verdict| verdict.severity());
        }
    }
    let width = order.iter().map(|check| check.len()).max().unwrap_or(5);
    let names: Vec<&str> = matrix.rows.iter().map(|row| row.name.as_str()).collect();
    let cell = names.iter().map(|name| name.len()).max().unwrap_or(4).max(4);
    let _ = writeln!(
        text,
        "{:width$}  {}",
        "",
        names.iter().map(|name| format!("{name:^cell$}")).collect::<Vec<_>>().join(" ")
    );
    for ((_, check), cells) in &checks {
        let cells: Vec<String> = cells.iter().map(|verdict| format!("{:^cell$}", sign(*verdict))).collect();
        let _ = writeln!(text, "{check:width$}  {}", cells.join(" ").trim_end());
    }
    let _ = writeln!(text, "\n{}", facts(matrix));
    let _ = writeln!(text, "all rows: {}", matrix.shown_counts());
    text
}

fn sign(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        None => "",
        Some(Verdict::Pass) => "ok",
        Some(Verdict::Skip) => "-",
        Some(Verdict::Inconclusive) => "?",
        Some(Verdict::Fail) => "FAIL",
        Some(Verdict::Error) => "ERR",
    }
}

fn facts(matrix: &Matrix) -> String {
    let mut text = String::new();
    let width = matrix.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for row in &matrix.rows {
        let Some(run) = &row.run else {
            let _ = writeln!(text, "{:width$}  ROW FAILED: {}", row.name, row.failure);
            for line in &row.console {
                let _ = writeln!(text, "{:width$}  | {line}", "");
            }
            continue;
        };
        let _ = writeln!(
            text,
            "{:width$}  {} {} ({}): first check after {}.{} s; {}",
            row.name,
            run.host.kernel,
            run.host.cgroup_mode,
            row.accelerator,
            row.first_check_ms / 1000,
            row.first_check_ms % 1000 / 100,
            crate::summary::summary(run)
        );
        for outcome in
            run.outcomes.iter().filter(|outcome| matches!(outcome.shown(), Verdict::Fail | Verdict::Error))
        {
            let toothless = outcome.proof() == Some(Proof::Toothless);
            let verdict = if toothless { "TOOTHLESS" } else { outcome.verdict.word() };
            let _ = writeln!(
                text,
                "{:width$}  {verdict} {} ({}): {}",
                "", outcome.check, outcome.subject, outcome.reason
            );
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use record::SCHEMA_VERSION;
    use record::matrix::Row;

    use super::*;
    use crate::terminal::tests::example;

    fn matrix() -> Matrix {
        let mut good = Row::failed("6.1-v2", "generic", "v2", String::new());
        good.run = Some(example());
        let bad = Row::failed("5.10-v1", "generic", "v1", "the guest panicked".into());
        Matrix { schema_version: SCHEMA_VERSION, plimsoll: "0".into(), rows: vec![good, bad] }
    }

    #[test]
    fn a_cell_shows_the_worst_of_its_subjects_and_a_failed_row_its_reason() {
        let text = table(&matrix());
        let line = text.lines().find(|line| line.starts_with("ns.uts.hostname")).unwrap();
        assert!(line.contains("FAIL"), "{text}");
        assert!(text.contains("5.10-v1  ROW FAILED: the guest panicked"), "{text}");
    }

    #[test]
    fn what_fails_is_not_hidden_by_what_is_skipped_beside_it() {
        let mut matrix = matrix();
        let run = matrix.rows[0].run.as_mut().unwrap();
        run.outcomes[0].verdict = Verdict::Skip;
        let text = table(&matrix);
        let line = text.lines().find(|line| line.starts_with("ns.uts.hostname")).unwrap();
        assert!(line.contains("FAIL"), "{text}");
        assert!(text.trim_end().ends_with("all rows: 0 passed, 1 failed, 2 skipped, 1 errors"), "{text}");
    }

    #[test]
    fn failed_claims_and_failed_rows_have_their_own_status() {
        let mut matrix = matrix();
        assert_eq!(matrix.exit_status(), 1);
        let run = matrix.rows[0].run.as_mut().unwrap();
        run.outcomes.retain(|outcome| outcome.verdict != Verdict::Fail);
        assert_eq!(matrix.exit_status(), 2);
        matrix.rows.pop();
        assert_eq!(matrix.exit_status(), 0);
    }

    #[test]
    fn under_a_fault_red_is_right_and_green_is_toothless() {
        let mut matrix = matrix();
        matrix.rows.pop();
        let run = matrix.rows[0].run.as_mut().unwrap();
        let broken = record::Expectation {
            what: "x".into(),
            observed: "1".into(),
            expected: "2".into(),
            tolerance: String::new(),
            holds: false,
            doubtful: false,
            missed_by: None,
            control: None,
        };
        for outcome in &mut run.outcomes {
            outcome.fault = Some("broken".into());
            if outcome.verdict == Verdict::Fail {
                outcome.evidence.expectations.push(broken.clone());
            }
        }
        let text = table(&matrix);
        assert!(
            text.contains("1 passed, 1 failed, 1 skipped (a check passes that fails under its fault)"),
            "{text}"
        );
        assert_eq!(matrix.exit_status(), 1);
    }

    #[test]
    fn a_row_that_ran_again_takes_its_old_place() {
        let mut matrix = matrix();
        matrix.merge(Row::failed("6.1-v2", "generic", "v2", "again".into()));
        let names: Vec<_> = matrix.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!((names, matrix.rows[0].failure.as_str()), (vec!["6.1-v2", "5.10-v1"], "again"));
    }
}
