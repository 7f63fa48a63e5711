//! The command `plimsoll bench`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use harness::probe::bench::OPERATIONS;
use harness::run::Run;
use harness::subject::Subject;
use reports::bench::{Bench, Measured, slower, table};
use reports::json;

use crate::commits::{COMMITS, commits};
use crate::paired::{Contestant, compare};
use crate::{floor, sides};

/// Measures what containers cost, side by side in one session: each thing on the host, on the host again (what differs there is
/// noise), and in containers.
#[derive(Debug, Parser)]
#[command(name = "plimsoll bench")]
struct Arguments {
    /// Parts of names; everything if none is given
    filter: Vec<String>,
    /// Sides beside the host: core, core+seccomp, the name of a runtime in PATH, or a path
    #[arg(long, value_name = "NAME|PATH", default_values_t = ["core".to_owned(), "core+seccomp".to_owned(), "runc".to_owned()])]
    side: Vec<String>,
    /// Rounds; more make the intervals narrower
    #[arg(long, value_name = "NUMBER", default_value_t = 24)]
    rounds: usize,
    /// A minute instead of several: fewer rounds, shorter ones
    #[arg(long)]
    quick: bool,
    /// CPU on which all sides are measured
    #[arg(long, value_name = "CPU", default_value = "0")]
    cpu: String,
    /// Write the record there
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare with an earlier record; exit status 1 if something got slower and does so when it is measured again
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Show what can be measured, and do nothing else
    #[arg(long)]
    list: bool,
}

/// Starts of containers, beside the operations of the probe.
const STARTS: [&str; 2] = ["start-hot", "start-cold"];

/// How long others wait for an RCU grace period after an idle time: a start after that is a cold one.
const IDLE: Duration = Duration::from_millis(100);

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
    let known = OPERATIONS.iter().copied().chain(STARTS).chain(COMMITS);
    // A minute has no room for commits, unless they are asked for.
    let quick = |name: &&str| !arguments.quick || !arguments.filter.is_empty() || !COMMITS.contains(name);
    let names: Vec<&str> = known.filter(wanted).filter(quick).collect();
    if arguments.list {
        names.iter().for_each(|name| println!("{name}"));
        return Ok(0);
    }
    if names.is_empty() {
        return Err(format!("nothing is called {}; --list shows what is", arguments.filter.join(" or ")));
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root: run it with sudo".into());
    }
    let before: Option<Bench> = arguments.against.as_deref().map(json::read_bench).transpose()?;
    let bench = measure(&arguments, &names)?;
    print!("{}", table(&bench));
    if let Some(path) = &arguments.save {
        json::write(&bench, path)?;
    }
    let Some(before) = before else { return Ok(0) };
    let suspects = slower(&before, &bench);
    if suspects.is_empty() {
        println!("\nnothing got slower");
        return Ok(0);
    }
    // A gate closes only for what is confirmed.
    let again: Vec<&str> =
        names.iter().copied().filter(|name| suspects.iter().any(|suspect| suspect.0 == *name)).collect();
    let confirmed = slower(&before, &measure(&arguments, &again)?);
    for (name, side, times) in &suspects {
        let sure = confirmed.iter().any(|other| (&other.0, &other.1) == (name, side));
        println!(
            "{name} ({side}): x {times:.3} {}",
            if sure { "slower, confirmed" } else { "not confirmed" }
        );
    }
    Ok(u8::from(!confirmed.is_empty()))
}

fn measure(arguments: &Arguments, names: &[&str]) -> Result<Bench, String> {
    let (rounds, batch) = if arguments.quick {
        (8, Duration::from_micros(500))
    } else {
        (arguments.rounds, Duration::from_millis(4))
    };
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let start = Instant::now();
    let run = Run::begin().map_err(|trouble| format!("{trouble:?}"))?;
    let (mut places, missing) = sides::all(&run, &arguments.side)?;
    missing.iter().for_each(|text| eprintln!("not measured: {text}"));
    for place in &mut places {
        place.ask(&["pin", &arguments.cpu])?;
    }
    let mut rows = Vec::new();
    for name in names {
        eprintln!("{name}");
        if STARTS.contains(name) {
            rows.push(starts(&run, arguments, name, rounds)?);
            continue;
        }
        if COMMITS.contains(name) {
            rows.push(commits(&run, name, rounds)?);
            continue;
        }
        // As many as make a batch long against the clock's own cost.
        let once = places[0].measure(name, 10)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded below")]
        let times = (batch.as_nanos() as f64 / once.max(1.0)).clamp(5.0, 1e7) as u32;
        let mut contestants: Vec<Contestant<'_>> = places
            .iter_mut()
            .map(|place| Contestant {
                name: place.name.clone(),
                measure: Box::new(move || place.measure(name, times)),
            })
            .collect();
        rows.push(compare(name, "ns", rounds, &mut contestants)?);
    }
    drop(places);
    Ok(Bench {
        schema_version: reports::record::SCHEMA_VERSION,
        plimsoll: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        duration_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        host: harness::host::describe(&run.layout),
        base: "host, for starts the bare floor, for commits tar".to_owned(),
        rows,
    })
}

/// From the start of a container that does nothing to its end, with the same configuration for all; the base is the floor.
fn starts(run: &Run, arguments: &Arguments, name: &str, rounds: usize) -> Result<Measured, String> {
    let bundle = run.dir().join("start");
    let rootfs = bundle.join("rootfs");
    std::fs::create_dir_all(&bundle).map_err(|error| format!("making {}: {error}", bundle.display()))?;
    if !rootfs.exists() {
        run.make_rootfs(&rootfs).map_err(|trouble| format!("{trouble:?}"))?;
        let mut spec = runtime::spec::example();
        if let Some(process) = spec.process.as_mut() {
            process.terminal = false;
            process.args = vec!["/probe".into(), "exit".into(), "0".into()];
        }
        let text = serde_json::to_string(&spec).map_err(|error| error.to_string())?;
        std::fs::write(bundle.join("config.json"), text).map_err(|error| error.to_string())?;
    }
    let idle = if name == "start-cold" { IDLE } else { Duration::ZERO };
    let timed = move |act: &dyn Fn() -> Result<(), String>| -> Result<f64, String> {
        std::thread::sleep(idle);
        let start = Instant::now();
        act()?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    };
    let mut contestants = Vec::new();
    for base in ["floor", "floor again"] {
        let (rootfs, work) = (rootfs.clone(), run.dir().join(base.replace(' ', "-")));
        contestants.push(Contestant {
            name: base.to_owned(),
            measure: Box::new(move || timed(&|| floor::run(&rootfs, &work, "/probe", &["exit", "0"]))),
        });
    }
    for side in arguments.side.iter().filter(|side| !side.contains('+')) {
        let subject = Subject::named(side)?;
        let (bundle, state) = (bundle.clone(), run.dir().join(format!("state-{}", subject.name)));
        let id = format!("{}-{}", run.tag(0), subject.name);
        contestants.push(Contestant {
            name: side.clone(),
            measure: Box::new(move || timed(&|| start_one(&subject, &state, &bundle, &id))),
        });
    }
    compare(name, "us", rounds, &mut contestants)
}

fn start_one(subject: &Subject, state: &Path, bundle: &Path, id: &str) -> Result<(), String> {
    let mut command: Command = subject.command(&[]);
    command.arg("--root").arg(state).arg("run").arg("--bundle").arg(bundle).arg(id);
    let output =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(harness::subject::complaint(&output)) }
}
