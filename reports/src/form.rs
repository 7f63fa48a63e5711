//! What a form is: a way to show records.

use record::Run;
use record::bench::Bench;
use record::matrix::{Matrix, Row};

use crate::fleet::Fleet;

/// A form that records can be shown in.
///
/// ```
/// use reports::form::{Form, Look, Product, Records, Refused};
///
/// /// Ids of the checks that failed, one a line.
/// #[derive(Debug)]
/// struct Failed;
///
/// impl Form for Failed {
///     fn name(&self) -> &'static str {
///         "failed"
///     }
///
///     fn about(&self) -> &'static str {
///         "Ids of the checks that failed"
///     }
///
///     fn records(&self, records: Records, _: Look) -> Result<Product, Refused> {
///         let mut text = String::new();
///         for (_, run) in records.flat() {
///             for outcome in run.outcomes.iter().filter(|outcome| outcome.shown() == record::Verdict::Fail) {
///                 text += &format!("{}\n", outcome.check);
///             }
///         }
///         Ok(Product::Text(text))
///     }
/// }
///
/// let run = reports::json::read("tests/data/run.json".as_ref())?;
/// let records = Records { runs: vec![(String::new(), run)], ..Records::default() };
/// let Ok(Product::Text(text)) = Failed.records(records, Look::default()) else { panic!() };
/// assert_eq!(text, "life.hooks\n");
/// # Ok::<(), reports::json::Error>(())
/// ```
pub trait Form: std::fmt::Debug + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it is for, in a line.
    fn about(&self) -> &'static str;

    /// Whether it is one text, and no files of a directory.
    fn is_text(&self) -> bool {
        true
    }

    /// Shows runs and rows.
    ///
    /// # Errors
    /// They cannot be shown so.
    fn records(&self, records: Records, look: Look) -> Result<Product, Refused>;

    /// Shows benchmarks.
    ///
    /// # Errors
    /// This form does not know benchmarks.
    fn benches(&self, _benches: &[(String, Bench)]) -> Result<Product, Refused> {
        Err(Refused("a benchmark has a table, a page, charts and JSON; it says nothing of claims".into()))
    }

    /// Shows many hosts.
    ///
    /// # Errors
    /// This form does not know fleets.
    fn fleet(&self, _fleet: &Fleet) -> Result<Product, Refused> {
        Err(Refused("--fleet has a table and a page; for other forms give the records without it".into()))
    }
}

/// Why a form does not show something.
#[derive(Debug)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// What a form makes.
#[derive(Debug)]
pub enum Product {
    /// One text.
    Text(String),
    /// Files, each with its name, what it shows, and its content.
    Files(Vec<(String, String, String)>),
}

/// How a text is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// On a terminal that wants colours.
    pub colours: bool,
}

/// Runs and rows of matrices, each with a name.
#[derive(Debug, Default)]
pub struct Records {
    /// All rows; `None` if no record was of a matrix.
    pub whole: Option<Matrix>,
    /// Runs that are no rows, by the names of their files.
    pub runs: Vec<(String, Run)>,
}

impl Records {
    /// Adds rows. Two of one name stand for two machines or two times, and both are shown: the later one with its record's
    /// name.
    pub fn add_rows(&mut self, version: u32, rows: Vec<Row>, record: &str) {
        let empty = || Matrix {
            schema_version: version,
            plimsoll: env!("CARGO_PKG_VERSION").into(),
            rows: Vec::new(),
        };
        let whole = self.whole.get_or_insert_with(empty);
        for mut row in rows {
            let known = |name: &str| whole.rows.iter().any(|known| known.name == name);
            if known(&row.name) {
                row.name = free(&format!("{}-{record}", row.name), known);
            }
            whole.rows.push(row);
        }
    }

    /// Rows that did not run.
    pub fn failed_rows(&self) -> usize {
        self.whole.iter().flat_map(|whole| &whole.rows).filter(|row| row.run.is_none()).count()
    }

    /// Every run with a name of its own; a row that did not run is a run with an error. One alone needs no name.
    pub fn flat(self) -> Vec<(String, Run)> {
        let mut all = self.named();
        if let [(name, _)] = &mut all[..] {
            name.clear();
        }
        all
    }

    /// The same, named even if it is one alone.
    pub fn named(self) -> Vec<(String, Run)> {
        let mut all = self.runs;
        all.extend(
            self.whole.iter().flat_map(|whole| &whole.rows).map(|row| (row.name.clone(), row.to_run())),
        );
        for number in 1..all.len() {
            let (before, this) = all.split_at_mut(number);
            this[0].0 = free(&this[0].0, |name| before.iter().any(|(known, _)| known == name));
        }
        all
    }

    /// Runs of several machines as rows of one table.
    pub fn side_by_side(mut self) -> Matrix {
        for (name, run) in std::mem::take(&mut self.runs) {
            let mut row = Row::failed(&name, "", &run.host.cgroup_mode, String::new());
            row.accelerator.clone_from(&run.host.virtualization);
            row.duration_ms = run.duration_ms;
            let version = row.schema_version;
            row.run = Some(run);
            self.add_rows(version, vec![row], "again");
        }
        self.whole.unwrap_or_else(|| Matrix { schema_version: 1, plimsoll: String::new(), rows: Vec::new() })
    }
}

/// Names beside runs, as most forms take them.
pub(crate) fn borrowed(all: &[(String, Run)]) -> Vec<(String, &Run)> {
    all.iter().map(|(name, run)| (name.clone(), run)).collect()
}

/// A name, with a number if it is in use.
fn free(name: &str, known: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !known(name)).unwrap_or_default()
}
