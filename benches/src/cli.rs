//! The command `plimsoll bench`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use output::Output;
use record::bench::Bench;
use reports::bench::{agreement, table};
use reports::{gate, json};

use crate::crowd::{CROWD, CROWD_ROWS};
use crate::error::{Doing, Error};
use crate::session::{Plan, is_long, measure, names};
use crate::sides::Chosen;

/// Measures what containers cost, side by side in one session: each thing on the host, on the host again (what differs there is
/// noise), in containers, and in a virtual machine.
#[derive(Debug, Parser)]
#[command(name = "plimsoll bench")]
struct Arguments {
    /// Parts of names; everything if none is given
    filter: Vec<String>,
    /// Sides beside the host: core, core+seccomp, core+userns, the name of a runtime or an engine in PATH or its path, vm, or
    /// vm:ROW of the kernel matrix
    #[arg(long, value_name = "SIDE", default_values_t = ["core", "core+seccomp", "core+userns", "runc", "crun", "vm"].map(str::to_owned))]
    side: Vec<String>,
    /// Rounds, at most; more make the intervals narrower
    #[arg(long, value_name = "NUMBER", default_value = "24", value_parser = rounds)]
    rounds: usize,
    /// A minute instead of many: fewer rounds, shorter ones
    #[arg(long)]
    quick: bool,
    /// CPU on which all sides are measured
    #[arg(long, value_name = "CPU", default_value = "0")]
    cpu: usize,
    /// Keep the record: in this file, or, if it is a name and no path, under that name
    #[arg(long, value_name = "NAME|FILE")]
    save: Option<String>,
    /// Compare with earlier records: given several times, or a directory of them. The more sessions, the less is taken for
    /// noise. Exit status 1 if something got slower and does so when it is measured again
    #[arg(long, value_name = "NAME|FILE|DIR")]
    against: Vec<String>,
    /// Write a page with charts there [default: plimsoll-bench.html, if it is a terminal that is written to]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Where kernel packages are kept [default: $XDG_CACHE_HOME/plimsoll, or ~/.cache/plimsoll]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Show what can be measured, and do nothing else
    #[arg(long)]
    list: bool,
}

/// Runs the command with the program's own arguments.
pub fn main() -> ExitCode {
    let status = run().unwrap_or_else(|error| {
        output::errln!("plimsoll bench: {error}");
        2
    });
    ExitCode::from(output::end("plimsoll bench", status, 2))
}

fn run() -> Result<u8, Error> {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            output::keep(error.print());
            return Ok(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let wanted = |name: &&str| {
        arguments.filter.is_empty() || arguments.filter.iter().any(|part| name.contains(part.as_str()))
    };
    // A minute has no room for some, unless they are asked for.
    let quick = |name: &&str| !arguments.quick || !arguments.filter.is_empty() || !is_long(name);
    let chosen: Vec<&str> = names().filter(wanted).filter(quick).collect();
    if arguments.list {
        chosen.iter().for_each(|name| output::outln!("{name}"));
        return Ok(0);
    }
    if chosen.is_empty() {
        return Err(Error::new(format!(
            "nothing is called {}; --list shows what is",
            arguments.filter.join(" or ")
        )));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::new("needs root: run it with sudo"));
    }
    let before = baselines(&arguments.against)?;
    let plan = arguments.plan();
    // Whatever cannot be written is known before minutes of work, and not after them.
    let record = arguments.save.as_deref().map(|name| open(place(name), true)).transpose()?;
    let page = arguments.page().map(|path| open(path, false)).transpose()?;
    let bench = measure(&plan, &chosen)?;
    output::out!("{}", table(&bench));
    let written = record.map_or(Ok(()), |record| write(record, &json::text(&bench)?).map(drop));
    if let Some(page) = page {
        let path = write(page, &reports::html::bench_page(&bench))?;
        output::outln!("\npage: {}", path.canonicalize().unwrap_or(path).display());
    }
    written?;
    if bench.rows.is_empty() && bench.throttled.is_empty() {
        return Err(Error::new("nothing could be measured"));
    }
    if before.is_empty() {
        return Ok(0);
    }
    compare_with(&before, &bench, &plan, &chosen)
}

impl Arguments {
    fn page(&self) -> Option<PathBuf> {
        let usual = std::io::stdout().is_terminal().then(|| PathBuf::from("plimsoll-bench.html"));
        self.html.clone().or(usual)
    }

    fn plan(&self) -> Plan<'_> {
        let (rounds, batch) = if self.quick {
            (8, Duration::from_micros(500))
        } else {
            (self.rounds, Duration::from_millis(4))
        };
        let sides = Chosen { names: &self.side, cpu: self.cpu, cache: self.cache.as_deref() };
        Plan { rounds, batch, quick: self.quick, sides }
    }
}

/// A gate closes only for what is confirmed by another session.
fn compare_with(before: &[Bench], bench: &Bench, plan: &Plan<'_>, chosen: &[&str]) -> Result<u8, Error> {
    output::outln!();
    for one in before {
        let (agree, of) = agreement(one, bench);
        output::outln!("ratios that agree with those of {}: {agree} of {of}", one.started);
        if one.host != bench.host {
            output::outln!(
                "warning: the host of {} is another one, or was changed: {}",
                one.started,
                one.host.kernel
            );
        }
    }
    let first = gate::judge(before, bench);
    output::out!("{}", gate::text(&first));
    if first.judged == 0 {
        return Err(Error::new("--against: no side was measured in these sessions and now"));
    }
    if first.slower.is_empty() {
        return Ok(0);
    }
    let suspect = |name: &&str| first.slower.iter().any(|changed| stands_in(name, &changed.row));
    let again: Vec<&str> = chosen.iter().copied().filter(suspect).collect();
    let confirmed = gate::confirm(before, &first, &measure(plan, &again)?);
    for changed in &first.slower {
        let sure = confirmed.iter().any(|other| (&other.row, &other.side) == (&changed.row, &changed.side));
        let word = if sure { "confirmed" } else { "not confirmed" };
        output::outln!("{word}: {} ({}) is slower", changed.row, changed.side);
    }
    Ok(u8::from(!confirmed.is_empty()))
}

/// Whether measuring what has this name gives that row: one of them gives several.
fn stands_in(name: &str, row: &str) -> bool {
    name == row || (CROWD.contains(&name) && CROWD_ROWS.contains(&row))
}

/// Earlier sessions: records, or all records of a directory.
fn baselines(given: &[String]) -> Result<Vec<Bench>, Error> {
    let mut all = Vec::new();
    for name in given {
        let path = place(name);
        let dir = if path.is_dir() { path.clone() } else { path.with_extension("") };
        if path.is_file() || !dir.is_dir() {
            all.push(json::read_bench(&path)?);
            continue;
        }
        let doing = || format!("reading {}", dir.display());
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&dir).doing(doing)? {
            paths.push(entry.doing(doing)?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
        paths.sort();
        if paths.is_empty() {
            return Err(Error::new(format!("{} has no records (*.json)", dir.display())));
        }
        for path in paths {
            all.push(json::read_bench(&path)?);
        }
    }
    Ok(all)
}

/// How many rounds: without one there is no figure.
fn rounds(text: &str) -> Result<usize, Error> {
    match text.parse() {
        Ok(0) => Err(Error::new("at least 1; 6 for intervals of 95 %")),
        Ok(rounds) => Ok(rounds),
        Err(error) => Err(Error::new(error.to_string())),
    }
}

/// Opens a place for a result; with `make`, its directory is made.
fn open(path: PathBuf, make: bool) -> Result<(PathBuf, Output), Error> {
    if let Some(dir) = path.parent().filter(|_| make) {
        std::fs::create_dir_all(dir).doing(|| format!("making {}", dir.display()))?;
    }
    let output = Output::open(&path).doing(|| format!("writing {}", path.display()))?;
    Ok((path, output))
}

/// Writes a result, and returns where it is.
fn write((path, mut output): (PathBuf, Output), text: &str) -> Result<PathBuf, Error> {
    let written = output.write_all(text.as_bytes()).and_then(|()| output.finish());
    written.doing(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// A path as it is; a name in the directory of kept records.
fn place(name: &str) -> PathBuf {
    if name.contains('/') || name.ends_with(".json") {
        return PathBuf::from(name);
    }
    let home =
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".local/share");
    let data = std::env::var_os("XDG_DATA_HOME").map_or_else(home, PathBuf::from);
    data.join("plimsoll/bench").join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_with_the_others_and_a_path_is_a_path() {
        assert_eq!(place("./x"), PathBuf::from("./x"));
        assert_eq!(place("x.json"), PathBuf::from("x.json"));
        assert!(place("before").ends_with("plimsoll/bench/before.json"));
    }

    #[test]
    fn no_rounds_are_refused() {
        assert_eq!(rounds("1"), Ok(1));
        assert!(rounds("0").unwrap_err().to_string().contains("at least 1"));
        assert!(rounds("-1").is_err());
        assert!(Arguments::try_parse_from(["bench", "--rounds", "0"]).is_err());
    }

    #[test]
    fn baselines_are_files_and_directories_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let record = include_str!("../../reports/tests/data/bench.json");
        for name in ["a.json", "b.json"] {
            std::fs::write(dir.path().join(name), record).unwrap();
        }
        std::fs::write(dir.path().join("notes.txt"), "").unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        assert_eq!(baselines(&[at("")]).unwrap().len(), 2);
        assert_eq!(baselines(&[at("a.json"), at("b.json"), at("a.json")]).unwrap().len(), 3);
        assert!(baselines(&[at("none.json")]).unwrap_err().to_string().contains("none.json"));
        std::fs::create_dir(dir.path().join("empty")).unwrap();
        assert!(baselines(&[at("empty")]).unwrap_err().to_string().contains("no records"));
    }
}
