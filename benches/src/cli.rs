//! The command `plimsoll bench`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use record::bench::Bench;
use reports::bench::{agreement, slower, table};
use reports::json;

use crate::session::{Plan, is_long, measure, names};
use crate::sides::Chosen;

/// Measures what containers cost, side by side in one session: each thing on the host, on the host again (what differs there is
/// noise), in containers, and in a virtual machine.
#[derive(Debug, Parser)]
#[command(name = "plimsoll bench")]
struct Arguments {
    /// Parts of names; everything if none is given
    filter: Vec<String>,
    /// Sides beside the host: core, core+seccomp, core+userns, the name of a runtime in PATH or its path, vm, or vm:ROW of the
    /// kernel matrix
    #[arg(long, value_name = "SIDE", default_values_t = ["core", "core+seccomp", "core+userns", "runc", "crun", "vm"].map(str::to_owned))]
    side: Vec<String>,
    /// Rounds, at most; more make the intervals narrower
    #[arg(long, value_name = "NUMBER", default_value_t = 24)]
    rounds: usize,
    /// A minute instead of many: fewer rounds, shorter ones
    #[arg(long)]
    quick: bool,
    /// CPU on which all sides are measured
    #[arg(long, value_name = "CPU", default_value = "0")]
    cpu: String,
    /// Keep the record: in this file, or, if it is a name and no path, under that name
    #[arg(long, value_name = "NAME|FILE")]
    save: Option<String>,
    /// Compare with an earlier record; exit status 1 if something got slower and does so when it is measured again
    #[arg(long, value_name = "NAME|FILE")]
    against: Option<String>,
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
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("plimsoll bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<u8, String> {
    let arguments = Arguments::parse();
    let wanted = |name: &&str| {
        arguments.filter.is_empty() || arguments.filter.iter().any(|part| name.contains(part.as_str()))
    };
    // A minute has no room for some, unless they are asked for.
    let quick = |name: &&str| !arguments.quick || !arguments.filter.is_empty() || !is_long(name);
    let chosen: Vec<&str> = names().filter(wanted).filter(quick).collect();
    if arguments.list {
        chosen.iter().for_each(|name| println!("{name}"));
        return Ok(0);
    }
    if chosen.is_empty() {
        return Err(format!("nothing is called {}; --list shows what is", arguments.filter.join(" or ")));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root: run it with sudo".into());
    }
    let before: Option<Bench> =
        arguments.against.as_deref().map(|name| json::read_bench(&place(name))).transpose()?;
    let plan = arguments.plan();
    let bench = measure(&plan, &chosen)?;
    print!("{}", table(&bench));
    if let Some(name) = &arguments.save {
        let path = place(name);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|error| format!("making {}: {error}", dir.display()))?;
        }
        json::write(&bench, &path)?;
    }
    arguments.write_page(&bench)?;
    if bench.rows.is_empty() && bench.throttled.is_empty() {
        return Err("nothing could be measured".into());
    }
    let Some(before) = before else { return Ok(0) };
    compare_with(&before, &bench, &plan, &chosen)
}

impl Arguments {
    fn write_page(&self, bench: &Bench) -> Result<(), String> {
        let usual = std::io::stdout().is_terminal().then(|| PathBuf::from("plimsoll-bench.html"));
        let Some(path) = self.html.clone().or(usual) else { return Ok(()) };
        json::write_whole(&path, &reports::html::bench_page(bench))?;
        println!("\npage: {}", path.canonicalize().unwrap_or(path).display());
        Ok(())
    }

    fn plan(&self) -> Plan<'_> {
        let (rounds, batch) = if self.quick {
            (8, Duration::from_micros(500))
        } else {
            (self.rounds, Duration::from_millis(4))
        };
        let sides = Chosen { names: &self.side, cpu: &self.cpu, cache: self.cache.as_deref() };
        Plan { rounds, batch, quick: self.quick, sides }
    }
}

/// A gate closes only for what is confirmed.
fn compare_with(before: &Bench, bench: &Bench, plan: &Plan<'_>, chosen: &[&str]) -> Result<u8, String> {
    let (agree, of) = agreement(before, bench);
    println!("\n{agree} of {of} ratios agree with those of {}", before.started);
    let suspects = slower(before, bench);
    if suspects.is_empty() {
        println!("nothing got slower");
        return Ok(0);
    }
    let again: Vec<&str> =
        chosen.iter().copied().filter(|name| suspects.iter().any(|suspect| suspect.0 == *name)).collect();
    let confirmed = slower(before, &measure(plan, &again)?);
    for (name, side, times) in &suspects {
        let sure = confirmed.iter().any(|other| (&other.0, &other.1) == (name, side));
        let word = if sure { "slower, confirmed" } else { "not confirmed" };
        println!("{name} ({side}): x {times:.3} {word}");
    }
    Ok(u8::from(!confirmed.is_empty()))
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
}
