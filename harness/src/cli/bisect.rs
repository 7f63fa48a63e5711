//! `plimsoll bisect`: between which two kernels of the list a check begins to say something else.

use std::path::PathBuf;

use clap::Args;
use matrix::bisect::{Edge, edge};
use matrix::list::{List, Row};
use matrix::machine::{Accelerator, Size};
use matrix::row::{Plan, run};
use record::{Outcome, Verdict, status};
use reports::terminal;

use super::failed::Failed;
use super::matrix::{Acceleration, Fetching, found};

#[derive(Debug, Args)]
pub(super) struct Bisect {
    /// The check's id
    check: String,
    /// One end, and given once more the other: rows of `plimsoll matrix --list`, of one layout and variant, such as 6.1-v2
    #[arg(long, value_name = "NAME", required = true)]
    row: Vec<String>,
    /// Another list of rows
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What runs the guests
    #[arg(long, value_name = "HOW", default_value = "auto")]
    accel: Acceleration,
    /// Where the console logs go
    #[arg(long, value_name = "DIR", default_value = "plimsoll-bisect")]
    out: PathBuf,
    /// More words for the guests' kernel command line
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    append: String,
    #[command(flatten)]
    fetching: Fetching,
}

/// A row that ran, and what the check said.
#[derive(Debug)]
struct Told {
    packages: Vec<String>,
    outcome: Outcome,
}

impl Bisect {
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let check = catalogue::find(&self.check)
            .ok_or_else(|| format!("no check has the id '{}'; `plimsoll list` shows them all", self.check))?;
        let list = List::read(self.file.as_deref())?;
        let rows = between(list.rows(), &self.row)?;
        std::fs::create_dir_all(&self.out)
            .map_err(|error| format!("--out {}: {error}", self.out.display()))?;
        let mut told: Vec<Option<Told>> = rows.iter().map(|_| None).collect();
        let ends = [0, rows.len() - 1];
        for end in ends {
            told[end] = Some(self.ask(&list, &rows[end], check.id)?);
        }
        let verdict = |told: &[Option<Told>], row: usize| told[row].as_ref().map(|one| one.outcome.shown());
        let (first, last) = (verdict(&told, ends[0]), verdict(&told, ends[1]));
        if first == last || !is_telling(first) || !is_telling(last) {
            show(&rows, &told, &ends);
            output::errln!("plimsoll: nothing to look for: both ends must say something, and not the same");
            return Ok(status::NOT_TRIED);
        }
        let found = edge(rows.len(), |row| {
            told[row] = match self.ask(&list, &rows[row], check.id) {
                Ok(one) => Some(one),
                // A kernel that cannot be had or does not boot says nothing; its neighbours may.
                Err(error) => {
                    output::errln!("plimsoll: {}", error.text());
                    None
                }
            };
            let said = verdict(&told, row).filter(|said| is_telling(Some(*said)));
            Ok::<_, Failed>(said.map(|said| Some(said) != first))
        })?;
        show(&rows, &told, &[found.before, found.after]);
        output::outln!("{}", sentence(&rows, &told, check.id, found));
        Ok(status::PASSED)
    }

    /// Runs the check on a row.
    fn ask(&self, list: &List, row: &Row, id: &str) -> Result<Told, Failed> {
        let (_, kernel) = found(list, vec![row.clone()], &self.fetching)?.remove(0);
        let kernel = kernel.map_err(|error| format!("{}: {error}", row.name))?;
        let accelerator = self.accel.choose(Some(&kernel.kernel), &self.out);
        output::errln!("plimsoll: {}: {} ({})", row.name, kernel.from.join(", "), accelerator.word());
        let plan = self.plan(list, accelerator, id);
        let record = run(&plan, row, &kernel, &self.out.join(&row.name), &|_| ());
        let outcome = record.run.and_then(|run| run.outcomes.into_iter().find(|one| one.check == id));
        let outcome = outcome.ok_or_else(|| format!("{}: {}", row.name, record.failure))?;
        output::errln!("plimsoll: {}: {} {}", row.name, outcome.shown().word(), outcome.reason);
        Ok(Told { packages: record.packages, outcome })
    }

    fn plan<'a>(&self, list: &'a List, accelerator: Accelerator, id: &str) -> Plan<'a> {
        let arguments = ["check", id, "--subject", "core"].map(str::to_owned).to_vec();
        Plan { list, arguments, append: self.append.clone(), accelerator, size: Size::default() }
    }
}

fn is_telling(verdict: Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Pass | Verdict::Fail | Verdict::Skip))
}

/// The rows from one end to the other, in the order of the list, of the same layout and variant.
fn between(all: Vec<Row>, ends: &[String]) -> Result<Vec<Row>, Failed> {
    let [one, other] = ends else {
        return Err(Failed::new(format!("--row: expected two ends, got {}", ends.len())));
    };
    let place = |name: &String| {
        all.iter().position(|row| row.name == *name).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|row| row.name.as_str()).collect();
            format!("--row {name}: there is no such row; there are {}", known.join(" "))
        })
    };
    let (one, other) = (place(one)?, place(other)?);
    let (layout, variant) = (all[one].layout, all[one].variant);
    if one == other || all[other].layout != layout || all[other].variant != variant {
        return Err(Failed::new(format!(
            "--row {} --row {}: expected two rows of one layout and variant",
            all[one].name, all[other].name
        )));
    }
    let range = one.min(other)..=one.max(other);
    let rows = all.into_iter().enumerate().filter(|(place, _)| range.contains(place)).map(|(_, row)| row);
    Ok(rows.filter(|row| row.layout == layout && row.variant == variant).collect())
}

/// The evidence of some rows.
fn show(rows: &[Row], told: &[Option<Told>], which: &[usize]) {
    for row in which {
        if let Some(one) = &told[*row] {
            output::outln!("{} ({})", rows[*row].name, one.packages.join(", "));
            output::outln!("{}", terminal::evidence(&one.outcome));
        }
    }
}

fn sentence(rows: &[Row], told: &[Option<Told>], id: &str, found: Edge) -> String {
    let word = |row: usize| told[row].as_ref().map_or("nothing", |one| one.outcome.shown().word());
    let (before, after) = (&rows[found.before].name, &rows[found.after].name);
    let silent: Vec<&str> = rows[found.before + 1..found.after].iter().map(|row| row.name.as_str()).collect();
    let between =
        if found.is_sharp() { String::new() } else { format!("; {} said nothing", silent.join(", ")) };
    format!("{id}: {} on {before}, {} on {after}{between}", word(found.before), word(found.after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ends: &[&str]) -> Result<Vec<String>, Failed> {
        let ends: Vec<String> = ends.iter().map(|end| (*end).to_owned()).collect();
        Ok(between(List::read(None).unwrap().rows(), &ends)?.into_iter().map(|row| row.name).collect())
    }

    #[test]
    fn rows_between_two_ends_have_their_layout_and_variant() {
        let rows = names(&["6.18-v2", "6.1-v2"]).unwrap();
        assert_eq!((rows[0].as_str(), rows.last().unwrap().as_str()), ("6.1-v2", "6.18-v2"));
        assert!(rows.len() >= 4 && rows.iter().all(|name| name.ends_with("-v2") && !name.contains("rt")));
        for (ends, said) in [
            (&["6.1-v2"][..], "two ends"),
            (&["6.1-v2", "6.1-v2"], "two rows"),
            (&["6.1-v2", "6.12-v1"], "one layout"),
            (&["6.1-v2", "2.4-v2"], "--row 2.4-v2: there is no such row"),
        ] {
            let error = names(ends).unwrap_err();
            assert!(error.text().contains(said), "{}", error.text());
        }
    }
}
