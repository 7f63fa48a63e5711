//! `plimsoll report`: records, shown again in the form that a reader or another system wants.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use output::Output;
use record::Run;
use record::bench::Bench;
use record::matrix::{Matrix, Row};
use reports::bench;
use reports::{charts, fleet, html, json, junit, kcidb, ktap, markdown, matrix, terminal};

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A table for a terminal
    Table,
    /// One page that needs nothing else
    Html,
    /// For a comment or a wiki
    Markdown,
    /// JUnit XML, for continuous integration
    Junit,
    /// KTAP, as the kernel's own tests speak
    Ktap,
    /// For KCIDB and those kernel CI systems that speak its form
    Kcidb,
    /// The records themselves
    Json,
    /// Charts, as SVG files in the directory of --output
    Charts,
}

#[derive(Debug, Args)]
pub(super) struct Report {
    /// The form
    #[arg(long, value_enum, value_name = "FORM", default_value = "table")]
    form: Form,
    /// The same as --form html
    #[arg(long, group = "short")]
    html: bool,
    /// The same as --form markdown
    #[arg(long, group = "short")]
    markdown: bool,
    /// The same as --form junit
    #[arg(long, group = "short")]
    junit: bool,
    /// The same as --form ktap
    #[arg(long, group = "short")]
    ktap: bool,
    /// The same as --form json
    #[arg(long, group = "short")]
    json: bool,
    /// Many hosts, each with a record: groups by kernel and layout, and hosts that are not as their group
    #[arg(long)]
    fleet: bool,
    /// File (or, for charts, directory) instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Records of runs, of rows, of whole matrices, or of benchmarks; directories mean all records in them
    #[arg(required = true)]
    record: Vec<PathBuf>,
}

impl Report {
    /// Shows what can be read; what cannot is said, and the rest is shown all the same.
    pub(super) fn run(&self) -> Result<u8, String> {
        let paths = records(&self.record)?;
        // Charts are files in a directory; everything else is one text.
        let place = self.output.as_deref().filter(|_| self.form() != Form::Charts);
        let place = place.map(Place::open).transpose()?;
        if self.fleet {
            let read = fleet::Fleet::read(&paths);
            let text = match self.form() {
                Form::Table => read.text(),
                Form::Html => html::fleet_page(&read),
                _ => {
                    return Err(
                        "--fleet has a table and a page; for other forms give the records without it".into(),
                    );
                }
            };
            write(place, &text)?;
            return if read.broken.is_empty() {
                Ok(0)
            } else {
                Err(format!("{} records were not read", read.broken.len()))
            };
        }
        let (mut whole, mut runs, mut broken) = (None::<Matrix>, Vec::new(), Vec::new());
        let (mut benches, mut failed) = (Vec::new(), 0);
        for path in &paths {
            match json::read_any(path) {
                Ok(json::Record::Run(run)) => runs.push((name_of(path), *run)),
                Ok(json::Record::Row(row)) => add(&mut whole, row.schema_version, vec![*row], &name_of(path)),
                Ok(json::Record::Matrix(more)) => {
                    add(&mut whole, more.schema_version, more.rows, &name_of(path));
                }
                Ok(json::Record::Bench(bench)) => benches.push((name_of(path), *bench)),
                Err(error) => broken.push(error),
            }
        }
        // The same record may have been given to look at one way or the other; each kind has its own page.
        if whole.is_none() && runs.is_empty() && !benches.is_empty() {
            self.show_benches(&benches, place)?;
        } else {
            benches.iter().for_each(|(name, _)| broken.push(format!("{name}: a benchmark is shown alone")));
            failed = whole.iter().flat_map(|whole| &whole.rows).filter(|row| row.run.is_none()).count();
            self.show(whole, runs, place)?;
        }
        if !broken.is_empty() {
            return Err(broken.join("\n"));
        }
        // As of `plimsoll matrix`.
        Ok(if failed > 0 { 3 } else { 0 })
    }

    fn form(&self) -> Form {
        let short = [
            (self.html, Form::Html),
            (self.markdown, Form::Markdown),
            (self.junit, Form::Junit),
            (self.ktap, Form::Ktap),
            (self.json, Form::Json),
        ];
        short.into_iter().find(|(given, _)| *given).map_or(self.form, |(_, form)| form)
    }

    fn show(
        &self,
        whole: Option<Matrix>,
        runs: Vec<(String, Run)>,
        place: Option<Place<'_>>,
    ) -> Result<(), String> {
        let form = self.form();
        if form == Form::Table {
            let colours = place.is_none() && terminal::wants_color(std::io::stdout().is_terminal());
            let tables = runs.iter().map(|(_, run)| terminal::table(run, colours));
            let text: String = tables.chain(whole.iter().map(matrix::table)).collect();
            return write(place, &text);
        }
        if form == Form::Html {
            let text = match (whole, &runs[..]) {
                (Some(whole), []) => html::matrix_page(&whole),
                (None, [(_, run)]) => html::page(run),
                // Several runs are best seen side by side.
                (whole, _) => html::matrix_page(&side_by_side(whole, runs)),
            };
            return write(place, &text);
        }
        let mut all: Vec<(String, Run)> = runs;
        // A row that did not run is an error in every form.
        all.extend(whole.iter().flat_map(|whole| &whole.rows).map(|row| (row.name.clone(), row.to_run())));
        names_differ(&mut all);
        if form == Form::Charts {
            return self.write_charts(&all);
        }
        let alone = all.len() == 1;
        let named: Vec<(String, &Run)> =
            all.iter().map(|(name, run)| (if alone { String::new() } else { name.clone() }, run)).collect();
        let text = match form {
            Form::Markdown => markdown::markdown(&named),
            Form::Junit => junit::junit(&named)?,
            Form::Ktap => ktap::ktap(&named),
            Form::Kcidb => json::text(&kcidb::kcidb(&named))?,
            _ => {
                let runs: Vec<&Run> = named.iter().map(|(_, run)| *run).collect();
                json::text(&runs)?
            }
        };
        write(place, &text)
    }

    fn show_benches(&self, benches: &[(String, Bench)], place: Option<Place<'_>>) -> Result<(), String> {
        match (self.form(), benches) {
            (Form::Table, _) => {
                write(place, &benches.iter().map(|(_, bench)| bench::table(bench)).collect::<String>())?;
            }
            (Form::Html, [(_, bench)]) => write(place, &html::bench_page(bench))?,
            (Form::Html, _) => return Err("a page shows one benchmark; --against compares two".into()),
            (Form::Charts, _) => {
                let drawn = benches.iter().map(|(name, bench)| (name.as_str(), charts::bench_charts(bench)));
                return self.save_charts(drawn.collect());
            }
            (Form::Json, _) => {
                let all: Vec<&Bench> = benches.iter().map(|(_, bench)| bench).collect();
                write(place, &json::text(&all)?)?;
            }
            _ => {
                return Err(
                    "a benchmark has a table, a page, charts and JSON; it says nothing of claims".into()
                );
            }
        }
        Ok(())
    }

    fn write_charts(&self, runs: &[(String, Run)]) -> Result<(), String> {
        self.save_charts(runs.iter().map(|(name, run)| (name.as_str(), charts::charts(run))).collect())
    }

    fn save_charts(&self, drawn: Vec<(&str, Vec<charts::Chart>)>) -> Result<(), String> {
        let dir = self.output.clone().unwrap_or_else(|| PathBuf::from("."));
        std::fs::create_dir_all(&dir).map_err(|error| format!("--output {}: {error}", dir.display()))?;
        if drawn.iter().all(|(_, charts)| charts.is_empty()) {
            return Err(
                "no record has the samples for a chart: run the checks of cpu., or a benchmark".into()
            );
        }
        for (name, chart) in
            drawn.iter().flat_map(|(name, charts)| charts.iter().map(move |chart| (name, chart)))
        {
            let path = dir.join(format!("{name}-{}.svg", chart.name));
            Place::open(&path)?.write(&chart.standalone())?;
            output::outln!("{}: {}", path.display(), chart.title);
        }
        Ok(())
    }
}

/// Adds rows. Two of one name stand for two machines or two times, and both are shown: the later one with its record's name.
fn add(whole: &mut Option<Matrix>, version: u32, rows: Vec<Row>, record: &str) {
    let empty =
        || Matrix { schema_version: version, plimsoll: env!("CARGO_PKG_VERSION").into(), rows: Vec::new() };
    let whole = whole.get_or_insert_with(empty);
    for mut row in rows {
        let known = |name: &str| whole.rows.iter().any(|known| known.name == name);
        if known(&row.name) {
            row.name = free(&format!("{}-{record}", row.name), known);
        }
        whole.rows.push(row);
    }
}

/// A name, with a number if it is in use.
fn free(name: &str, known: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !known(name)).unwrap_or_default()
}

fn names_differ(all: &mut [(String, Run)]) {
    for number in 1..all.len() {
        let (before, this) = all.split_at_mut(number);
        this[0].0 = free(&this[0].0, |name| before.iter().any(|(known, _)| known == name));
    }
}

/// Runs of several machines as rows of one table.
fn side_by_side(whole: Option<Matrix>, runs: Vec<(String, Run)>) -> Matrix {
    let mut whole = whole;
    for (name, run) in runs {
        let mut row = Row::failed(&name, "", &run.host.cgroup_mode, String::new());
        row.accelerator.clone_from(&run.host.virtualization);
        row.duration_ms = run.duration_ms;
        let version = row.schema_version;
        row.run = Some(run);
        add(&mut whole, version, vec![row], "again");
    }
    whole.unwrap_or_else(|| Matrix { schema_version: 1, plimsoll: String::new(), rows: Vec::new() })
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The records that a list of files and directories means.
fn records(given: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut all = Vec::new();
    for path in given {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries =
            std::fs::read_dir(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json") && path.is_file())
            .collect();
        if found.is_empty() {
            return Err(format!("{} holds no records (*.json)", path.display()));
        }
        found.sort();
        all.extend(found);
    }
    Ok(all)
}

/// Where a result goes, opened before the work that makes it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    path: &'a Path,
    output: Output,
}

impl<'a> Place<'a> {
    /// # Errors
    /// It cannot be written to.
    pub(super) fn open(path: &'a Path) -> Result<Self, String> {
        let output = Output::open(path).map_err(|error| told(path, &error))?;
        Ok(Self { path, output })
    }

    /// Writes a text, which appears as a whole where that can be.
    ///
    /// # Errors
    /// The disk is full, or the reader gone.
    pub(super) fn write(mut self, text: &str) -> Result<(), String> {
        let written = self.output.write_all(text.as_bytes()).and_then(|()| self.output.finish());
        written.map_err(|error| told(self.path, &error))
    }

    /// Writes a page and says where it is.
    ///
    /// # Errors
    /// As of [`Place::write`].
    pub(super) fn write_page(self, text: &str) -> Result<(), String> {
        let path = self.path;
        self.write(text)?;
        output::outln!("\npage: {}", path.canonicalize().unwrap_or_else(|_| path.to_owned()).display());
        Ok(())
    }
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("writing {}: {error}", path.display())
}

/// Writes to a file, or to standard output.
fn write(place: Option<Place<'_>>, text: &str) -> Result<(), String> {
    match place {
        Some(place) => place.write(text),
        None => {
            output::out!("{text}");
            Ok(())
        }
    }
}
