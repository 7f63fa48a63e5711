//! `plimsoll matrix`

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args, ValueEnum};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reports::{json, matrix};
use serde::Serialize;

use super::failed::Failed;
use super::own_kernels::{Candidate, Own};
use super::selecting::{Kind, Selecting};
use ::matrix::archive::default_cache;
use ::matrix::initramfs::Kernel;
use ::matrix::list::{List, Row};
use ::matrix::machine::Accelerator;
use ::matrix::packages::{self, Index};
use ::matrix::row::{Found, Plan, Progress, run};

#[derive(Debug, Args)]
pub(super) struct Matrix {
    #[command(flatten)]
    selecting: Selecting,
    /// Run this row: a whole name, or the beginning of one such as 6.1 [default: the list's usual rows]
    #[arg(long, value_name = "NAME")]
    row: Vec<String>,
    /// Run every row of the list
    #[arg(long)]
    all: bool,
    /// Show the rows and do nothing else
    #[arg(long)]
    list: bool,
    /// Print the rows for another system that runs them, and do nothing else
    #[arg(long, value_name = "FORM")]
    plan: Option<PlanForm>,
    /// Run nothing: merge the records of rows that are in the directory already
    #[arg(long)]
    merge: bool,
    /// Guests at a time [default: one for each two CPUs]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// What runs the guests
    #[arg(long, value_name = "HOW", default_value = "auto")]
    accel: Acceleration,
    /// Run each check against its faults instead
    #[arg(long)]
    prove: bool,
    /// Only checks that look at this; those of engines look at the engine more than at the kernel, and take long in emulation
    #[arg(long, value_name = "WHAT", default_values_t = [Kind::Kernel, Kind::Runtime])]
    scope: Vec<Kind>,
    /// Another list of rows
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where the records and console logs go; rows that are there already stay, unless they run again
    #[arg(long, value_name = "DIR", default_value = "plimsoll-matrix")]
    out: PathBuf,
    #[command(flatten)]
    fetching: Fetching,
    /// More words for the guests' kernel command line, such as cgroup_disable=memory
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// How many checks of all rows must pass or fail, as a number or a percentage of all: with fewer the exit status is 3
    #[arg(long, value_name = "N|PERCENT", default_value_t = record::status::Require::default())]
    require: record::status::Require,
    #[command(flatten)]
    own: Own,
}

/// How kernels of the list are had.
#[derive(Debug, Args)]
pub(super) struct Fetching {
    /// Where packages are kept [default: $XDG_CACHE_HOME/plimsoll, or ~/.cache/plimsoll]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Fetch the package index again
    #[arg(long)]
    refresh: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PlanForm {
    /// The value of `strategy.matrix` of a GitHub Actions job.
    Github,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Acceleration {
    /// KVM if a guest really boots under it, else emulation.
    Auto,
    /// KVM.
    Kvm,
    /// Emulation.
    Tcg,
}

impl Acceleration {
    /// What runs guests: KVM only if one really boots there.
    pub(super) fn choose(self, first: Option<&Kernel>, out: &Path) -> Accelerator {
        match (self, first) {
            (Self::Kvm, _) => Accelerator::Kvm,
            (Self::Tcg, _) | (Self::Auto, None) => Accelerator::Tcg,
            (Self::Auto, Some(first)) => Accelerator::probe(first, &out.join("probe")),
        }
    }
}

/// A row whose kernel was found.
struct Ready {
    row: Row,
    kernel: Found,
}

/// The `matrix` of a job's `strategy` in GitHub Actions.
#[derive(Debug, Serialize)]
struct GithubPlan<'a> {
    row: Vec<&'a str>,
}

impl Matrix {
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let list = List::read(self.file.as_deref())?;
        // Kernels of one's own run alone, unless rows of the list are asked for too.
        let listed = self.own.is_empty() || self.all || !self.row.is_empty();
        let rows = if listed { list.select(&self.row, self.all)? } else { Vec::new() };
        let own = self.own.rows()?;
        if self.list {
            show(&list);
            return Ok(0);
        }
        if let Some(PlanForm::Github) = self.plan {
            let plan = GithubPlan { row: rows.iter().map(|row| row.name.as_str()).collect() };
            output::outln!("{}", serde_json::to_string(&plan)?);
            return Ok(0);
        }
        let own_names = own.iter().map(|(row, _)| row.name.clone());
        let order: Vec<String> = list.rows().into_iter().map(|row| row.name).chain(own_names).collect();
        if self.merge {
            let whole = self.merged(&order, Vec::new())?;
            output::out!("{}", matrix::table(&whole));
            super::check::write_page(&self.out.join("matrix.html"), &reports::html::matrix_page(&whole))?;
            return Ok(whole.exit_status_if(self.require));
        }
        // A wrong filter is found here, not in a guest.
        self.selecting.checks(&self.scope)?;
        std::fs::create_dir_all(&self.out)
            .map_err(|error| format!("--out {}: {error}", self.out.display()))?;
        let started = std::time::Instant::now();
        let (ready, failed) = sorted(own, found(&list, rows, &self.fetching)?);
        for row in &failed {
            write_row(&self.out, row)?;
        }
        let accelerator = self.accel.choose(ready.first().map(|first| &first.kernel.kernel), &self.out);
        let mut arguments = vec![if self.prove { "prove" } else { "check" }.to_owned()];
        arguments.extend(self.selecting.words());
        for kind in &self.scope {
            arguments.extend(["--scope".to_owned(), kind.word().to_owned()]);
        }
        let plan =
            Plan { list: &list, arguments, append: self.append.clone(), accelerator, size: self.own.size() };
        let jobs = self
            .jobs
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() / 2))
            .max(1);
        let ran = self.boot(&plan, &ready, jobs);
        let whole = self.merged(&order, ran.into_iter().chain(failed).collect())?;
        output::out!("{}", matrix::table(&whole));
        super::check::write_page(&self.out.join("matrix.html"), &reports::html::matrix_page(&whole))?;
        output::outln!(
            "{} rows in {:.0} s; records in {}",
            ready.len(),
            started.elapsed().as_secs_f64(),
            self.out.display()
        );
        Ok(whole.exit_status_if(self.require))
    }

    /// Boots the rows, some at a time; each row's record is written as soon as it is there.
    fn boot(&self, plan: &Plan<'_>, ready: &[Ready], jobs: usize) -> Vec<record::matrix::Row> {
        let bars = MultiProgress::new();
        let all = bars.add(bar(ready.len(), "{pos}/{len} rows [{bar:30}] {elapsed} {msg}"));
        all.set_message(plan.accelerator.word());
        let next = AtomicUsize::new(0);
        let records = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(Ready { row, kernel }) = ready.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let own = bars.add(bar(0, "{msg:24} {pos}/{len} checks [{bar:30}] {elapsed}"));
                        own.set_message(format!("{}: booting", row.name));
                        let told = |progress: &Progress| {
                            own.set_message(match progress.failed {
                                0 => row.name.clone(),
                                failed => format!("{}: {failed} failed", row.name),
                            });
                            own.set_length(u64::try_from(progress.jobs).unwrap_or(0));
                            own.set_position(u64::try_from(progress.done).unwrap_or(0));
                        };
                        let record = run(plan, row, kernel, &self.out.join(&row.name), &told);
                        own.finish_and_clear();
                        all.inc(1);
                        if let Err(error) = write_row(&self.out, &record) {
                            let _ = bars.println(error.to_string());
                        }
                        records.lock().expect("no thread panics here").push(record);
                    }
                });
            }
        });
        all.finish_and_clear();
        records.into_inner().expect("no thread panics here")
    }

    /// The rows that ran, and those of earlier runs in the same directory, in the order of the list.
    fn merged(
        &self,
        order: &[String],
        ran: Vec<record::matrix::Row>,
    ) -> Result<record::matrix::Matrix, Failed> {
        let path = self.out.join("matrix.json");
        let mut whole = record::matrix::Matrix {
            schema_version: record::SCHEMA_VERSION,
            plimsoll: env!("CARGO_PKG_VERSION").into(),
            rows: Vec::new(),
        };
        for name in order {
            if let Ok(row) = json::read_row(&self.out.join(format!("{name}.json"))) {
                whole.merge(row);
            }
        }
        ran.into_iter().for_each(|row| whole.merge(row));
        let place =
            |row: &record::matrix::Row| order.iter().position(|name| *name == row.name).unwrap_or(usize::MAX);
        whole.rows.sort_by_key(place);
        json::write(&whole, &path)?;
        Ok(whole)
    }
}

/// Finds, fetches and unpacks the kernels of the list's rows.
pub(super) fn found(list: &List, rows: Vec<Row>, fetching: &Fetching) -> Result<Vec<Candidate>, Failed> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let cache = fetching.cache.clone().unwrap_or_else(default_cache);
    let archive = packages::open(&cache, list, &rows, fetching.refresh)?;
    let index = Index::of(&archive)?;
    let progress = ProgressBar::new_spinner();
    let found = rows.into_iter().map(|row| {
        progress.set_message(format!("{}: fetching its kernel", row.name));
        progress.tick();
        let found = index.resolve(&row).and_then(|resolved| {
            let kernel = Kernel::find(&packages::unpack(&archive, &resolved)?)?;
            let from = resolved.packages.iter();
            let from = from.map(|package| format!("{} {}", package.name, package.version)).collect();
            Ok(Found { from, kernel })
        });
        (row, found)
    });
    let found = found.collect();
    progress.finish_and_clear();
    Ok(found)
}

/// A row without a kernel is a failed row, not the end.
fn sorted(own: Vec<Candidate>, listed: Vec<Candidate>) -> (Vec<Ready>, Vec<record::matrix::Row>) {
    let (mut ready, mut failed) = (Vec::new(), Vec::new());
    for (row, found) in listed.into_iter().chain(own) {
        match found {
            Ok(kernel) => ready.push(Ready { row, kernel }),
            Err(error) => {
                let (variant, layout) = (row.variant.word(), row.layout.word());
                failed.push(record::matrix::Row::failed(&row.name, variant, layout, error.to_string()));
            }
        }
    }
    (ready, failed)
}

fn write_row(out: &Path, row: &record::matrix::Row) -> Result<(), json::Error> {
    json::write(row, &out.join(format!("{}.json", row.name)))
}

fn bar(length: usize, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn show(list: &List) {
    for row in list.rows() {
        output::outln!(
            "{:16} kernel {:7} {:8} cgroup {:7} {:8} from {}",
            row.name,
            row.series,
            row.variant.word(),
            row.layout.word(),
            if row.default { "" } else { "--all" },
            row.suites.join(", ")
        );
    }
}
