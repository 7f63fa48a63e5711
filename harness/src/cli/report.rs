//! `plimsoll report`: records, shown again in the form that a reader or another system wants.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use output::Output;
use record::matrix::Row;
use record::status::{self, Require};
use record::{Counts, Outcome, Run};
use reports::form::{Form, Look, Product, Records};
use reports::{fleet, forms, json};

use super::failed::Failed;
use super::look::Color;

#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    form: Chosen,
    /// Many hosts, each with a record: groups by kernel and layout, and hosts that are not as their group
    #[arg(long)]
    fleet: bool,
    /// File (or, for charts, directory) instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    color: Color,
    /// How many checks must have passed or failed, as a number or a percentage of all: with fewer the exit status is 3
    #[arg(long, value_name = "N|PERCENT", default_value_t = Require::default())]
    require: Require,
    /// Records of runs, of rows, of whole matrices, or of benchmarks; directories mean all records in them
    #[arg(required = true)]
    record: Vec<PathBuf>,
}

impl Report {
    /// Shows what can be read; what cannot is said, and the rest is shown all the same.
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let paths = records(&self.record)?;
        // Files go to a directory; everything else is one text, whose place is opened before the work.
        let form = self.form.0;
        let place = self.output.as_deref().filter(|_| form.is_text());
        let place = place.map(Place::open).transpose()?;
        if self.fleet {
            let read = fleet::Fleet::read(&paths);
            self.write(form.fleet(&read)?, place)?;
            return if read.broken.is_empty() {
                Ok(0)
            } else {
                Err(Failed::new(format!("{} records were not read", read.broken.len())))
            };
        }
        let (mut all, mut benches, mut broken) = (Records::default(), Vec::new(), Vec::new());
        for path in &paths {
            let name = name_of(path);
            match json::read_any(path) {
                Ok(json::Record::Run(run)) => all.runs.push((name, *run)),
                Ok(json::Record::Row(row)) => all.add_rows(row.schema_version, vec![*row], &name),
                Ok(json::Record::Matrix(more)) => all.add_rows(more.schema_version, more.rows, &name),
                Ok(json::Record::Bench(bench)) => benches.push((name, *bench)),
                Err(error) => broken.push(error.to_string()),
            }
        }
        // The same record may have been given to look at one way or the other; each kind has its own page.
        let mut status = status::PASSED;
        let product = if all.whole.is_none() && all.runs.is_empty() && !benches.is_empty() {
            form.benches(&benches)
        } else {
            broken.extend(benches.iter().map(|(name, _)| format!("{name}: a benchmark is shown alone")));
            let colours = place.is_none() && self.color.is_wanted();
            status = self.status(&all);
            form.records(all, Look { colours })
        };
        self.write(product?, place)?;
        if !broken.is_empty() {
            return Err(Failed::new(broken.join("\n")));
        }
        Ok(status)
    }

    /// The exit status that all records together mean.
    fn status(&self, records: &Records) -> u8 {
        let rows: Vec<Run> = records.whole.iter().flat_map(|whole| &whole.rows).map(Row::to_run).collect();
        let all = || records.runs.iter().map(|(_, run)| run).chain(&rows);
        let counts = Counts::of(all().flat_map(|run| &run.outcomes).map(Outcome::weighed));
        status::of(counts, all().any(|run| !run.left_behind.is_empty()), self.require)
    }

    fn write(&self, product: Product, place: Option<Place<'_>>) -> Result<(), Failed> {
        let files = match (product, place) {
            (Product::Text(text), Some(place)) => return place.write(&text),
            (Product::Text(text), None) => {
                output::out!("{text}");
                return Ok(());
            }
            (Product::Files(files), _) => files,
        };
        let dir = self.output.clone().unwrap_or_else(|| PathBuf::from("."));
        std::fs::create_dir_all(&dir).map_err(|error| format!("--output {}: {error}", dir.display()))?;
        for (name, title, text) in files {
            let path = dir.join(name);
            Place::open(&path)?.write(&text)?;
            output::outln!("{}: {title}", path.display());
        }
        Ok(())
    }
}

/// The form that was asked for: by `--form NAME`, or by its name as an option.
#[derive(Clone, Copy)]
struct Chosen(&'static dyn Form);

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

impl FromArgMatches for Chosen {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let short = forms::ALL.iter().find(|form| matches.get_flag(form.name()));
        let named = matches.get_one::<String>("form").and_then(|name| forms::named(name));
        let chosen = short.copied().or(named);
        chosen
            .map(Self)
            .ok_or_else(|| clap::Error::raw(clap::error::ErrorKind::InvalidValue, "unknown form\n"))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Chosen {
    fn augment_args(command: Command) -> Command {
        let names = forms::ALL.iter().map(|form| PossibleValue::new(form.name()).help(form.about()));
        let form = Arg::new("form")
            .long("form")
            .value_name("FORM")
            .default_value(forms::ALL[0].name())
            .value_parser(PossibleValuesParser::new(names))
            .help("The form; each has an option of its own name too");
        forms::ALL.iter().fold(command.arg(form), |command, form| {
            let short = Arg::new(form.name()).long(form.name()).group("short").action(ArgAction::SetTrue);
            command.arg(short.hide(true))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The records that a list of files and directories means.
fn records(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failed> {
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
            return Err(Failed::new(format!("{} holds no records (*.json)", path.display())));
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
    pub(super) fn open(path: &'a Path) -> Result<Self, Failed> {
        let output = Output::open(path).map_err(|error| told(path, &error))?;
        Ok(Self { path, output })
    }

    /// Writes a text, which appears as a whole where that can be.
    ///
    /// # Errors
    /// The disk is full, or the reader gone.
    pub(super) fn write(mut self, text: &str) -> Result<(), Failed> {
        let written = self.output.write_all(text.as_bytes()).and_then(|()| self.output.finish());
        Ok(written.map_err(|error| told(self.path, &error))?)
    }

    /// Writes a page and says where it is.
    ///
    /// # Errors
    /// Same errors as [`Place::write`].
    pub(super) fn write_page(self, text: &str) -> Result<(), Failed> {
        let path = self.path;
        self.write(text)?;
        output::outln!("\npage: {}", path.canonicalize().unwrap_or_else(|_| path.to_owned()).display());
        Ok(())
    }
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("writing {}: {error}", path.display())
}
