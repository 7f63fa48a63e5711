//! The command `plim-runtime`: an OCI runtime on the command line, with runc's words and flags.
//!
//! One file for each command; here are the global options and how errors are told.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod late;
mod list;
mod log;
mod ps;
mod refused;
mod run;
mod shared;
mod simple;
mod spec;
mod terminal;
mod update;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches, Parser, Subcommand};

use late::Late;

use crate::container::default_root;
use crate::error::Error;

/// Runs containers as the OCI runtime specification describes them, with the command line of runc.
#[derive(Debug, Parser)]
#[command(name = "plim-runtime", disable_version_flag = true, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Options of all commands.
#[derive(Debug, Args)]
struct Global {
    /// Show what is done, step by step
    #[arg(long, global = true)]
    debug: bool,
    /// Where errors and warnings are written, instead of standard error
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How they are written
    #[arg(long, value_enum, default_value_t = log::Format::Text)]
    log_format: log::Format,
    /// Directory of the containers' state [default: /run/plim-runtime, or below XDG_RUNTIME_DIR]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Let systemd make the cgroups (not supported)
    #[arg(long)]
    systemd_cgroup: bool,
    /// Ignored: whether root is needed is found out by trying
    #[arg(long, value_name = "BOOL", hide = true)]
    rootless: Option<String>,
    /// Ignored
    #[arg(long, value_name = "PATH", hide = true)]
    criu: Option<PathBuf>,
    /// Print the version
    #[arg(long, short = 'v')]
    version: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a container; the application waits for `start`
    Create(Late<create::Create>),
    /// Start the application of a created container
    Start(Late<simple::Id>),
    /// Make a container and start its application
    Run(Late<run::Run>),
    /// Start a further process in a running container
    Exec(Late<exec::Exec>),
    /// Print a container's state as JSON
    State(Late<simple::Id>),
    /// Send a signal to a container's first process
    Kill(Late<kill::Kill>),
    /// Remove a container
    Delete(Late<delete::Delete>),
    /// List the containers
    List(Late<list::List>),
    /// Freeze all processes of a container
    Pause(Late<simple::Id>),
    /// Let frozen processes go on
    Resume(Late<simple::Id>),
    /// List the processes of a container
    Ps(Late<ps::Ps>),
    /// Change the limits of a container
    Update(Late<update::Update>),
    /// Show what a container uses, and OOM kills in it
    Events(Late<events::Events>),
    /// Not supported: write a running container to disk
    #[command(hide = true)]
    Checkpoint(Late<refused::Anything>),
    /// Not supported: start a container from a checkpoint
    #[command(hide = true)]
    Restore(Late<refused::Anything>),
    /// Print what this runtime can do, as JSON
    Features,
    /// Write a config.json to start from
    Spec(Late<spec::SpecFile>),
}

/// Runs the command with the program's own arguments; returns the exit status.
pub fn main() -> u8 {
    let arguments = match parse(&std::env::args_os().collect::<Vec<_>>()) {
        Ok(arguments) => arguments,
        Err(error) => {
            output::keep(error.print());
            let status = u8::try_from(error.exit_code()).unwrap_or(1);
            return output::end("plim-runtime", status, 1);
        }
    };
    let Global { log, log_format, debug, .. } = &arguments.global;
    let log = match log::Log::open(log.clone(), *log_format, *debug) {
        Ok(log) => log,
        Err(error) => {
            output::complainln!("plim-runtime: {error}");
            return 1;
        }
    };
    let status = match dispatch(arguments, &log) {
        Ok(status) => status,
        Err((error, status)) => {
            log.error(&error.to_string());
            status
        }
    };
    output::end("plim-runtime", status, 1)
}

fn parse(words: &[OsString]) -> Result<Arguments, clap::Error> {
    match parse_frequent(words) {
        Some(arguments) => Ok(arguments),
        None => Arguments::try_parse_from(words),
    }
}

/// Reads the command lines that start and end a container. To describe all commands to the parser takes longer than many a command itself, so
/// it gets to know the one that is named alone. Whatever it does not accept then is for the whole parser.
fn parse_frequent(words: &[OsString]) -> Option<Arguments> {
    type Describe = fn(clap::Command) -> clap::Command;
    let frequent: [(&str, Describe); 7] = [
        ("create", create::Create::augment_args),
        ("start", simple::Id::augment_args),
        ("run", run::Run::augment_args),
        ("exec", exec::Exec::augment_args),
        ("state", simple::Id::augment_args),
        ("kill", kill::Kill::augment_args),
        ("delete", delete::Delete::augment_args),
    ];
    let named = |word: &OsString| frequent.iter().find(|(name, _)| word == name);
    let (name, describe) = words.iter().skip(1).find_map(named)?;
    let parser = Global::augment_args(clap::Command::new("plim-runtime").disable_version_flag(true))
        .disable_help_subcommand(true)
        .subcommand(describe(clap::Command::new(*name)));
    let matches = parser.try_get_matches_from(words).ok()?;
    Arguments::from_arg_matches(&matches).ok()
}

fn dispatch(arguments: Arguments, log: &log::Log) -> Result<u8, (Error, u8)> {
    if arguments.global.version {
        output::outln!("plim-runtime version {}\nspec: {}", env!("CARGO_PKG_VERSION"), crate::oci::VERSION);
        return Ok(0);
    }
    if arguments.global.systemd_cgroup {
        let error = Error::new("--systemd-cgroup is not supported")
            .remedy("use the cgroupfs driver, for Docker: \"exec-opts\": [\"native.cgroupdriver=cgroupfs\"]");
        return Err((error, 1));
    }
    let given = arguments.global.root.is_some();
    let root = arguments.global.root.unwrap_or_else(default_root);
    let Some(command) = arguments.command else {
        return Err((Error::new("no command is given").remedy("plim-runtime --help lists them"), 1));
    };
    // runc's exec tells its own failures from the application's by this status.
    let failure = if matches!(command, Command::Exec(_)) { 255 } else { 1 };
    if matches!(command, Command::Create(_) | Command::Run(_) | Command::Exec(_)) {
        crate::process::protect::own_file().map_err(|error| (error, failure))?;
    }
    let outcome = match command {
        Command::Create(Late(command)) => command.run(&root, log),
        Command::Start(Late(id)) => simple::start(&root, &id),
        Command::Run(Late(command)) => command.run(&root, log),
        Command::Exec(Late(command)) => command.run(&root, log),
        Command::State(Late(id)) => simple::state(&root, &id),
        Command::Kill(Late(command)) => command.run(&root),
        Command::Delete(Late(command)) => command.run(&root, log),
        Command::List(Late(command)) => command.run(&root, given),
        Command::Pause(Late(id)) => simple::pause(&root, &id),
        Command::Resume(Late(id)) => simple::resume(&root, &id),
        Command::Ps(Late(command)) => command.run(&root),
        Command::Update(Late(command)) => command.run(&root, log),
        Command::Events(Late(command)) => command.run(&root),
        Command::Checkpoint(Late(given)) => refused::refuse("checkpoint", &given),
        Command::Restore(Late(given)) => refused::refuse("restore", &given),
        Command::Features => features::print(),
        Command::Spec(Late(command)) => command.run(),
    };
    outcome.map_err(|error| (error, failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("plim-runtime").chain(line.split_whitespace()).map(OsString::from).collect()
    }

    #[test]
    fn frequent_commands_are_read_as_the_whole_parser_reads_them() {
        let all = [
            "run -b DIR c",
            "--root R --log L --log-format json create --bundle B --pid-file P --console-socket S c",
            "--debug start c",
            "start --debug c",
            "exec --cap CAP_KILL -e A=b c sh -c run",
            "exec c run --help",
            "kill c TERM",
            "kill --all c 9",
            "delete --force c",
            "--rootless true --criu x state c",
        ];
        for line in all {
            let frequent = parse_frequent(&words(line)).expect(line);
            let whole = Arguments::try_parse_from(words(line)).expect(line);
            assert_eq!(format!("{frequent:?}"), format!("{whole:?}"), "{line}");
        }
    }

    #[test]
    fn what_only_looks_like_a_frequent_command_is_for_the_whole_parser() {
        for line in
            ["", "list", "--root run list", "--root exec create c", "run --help", "run", "start --bad c"]
        {
            assert!(parse_frequent(&words(line)).is_none(), "{line}");
        }
        let parsed = parse(&words("--root exec create c")).unwrap();
        assert!(matches!(parsed.command, Some(Command::Create(_))), "{parsed:?}");
    }
}
