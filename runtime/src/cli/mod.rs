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

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use late::Late;

use crate::container::default_root;
use crate::error::Error;

/// Runs containers as the OCI runtime specification describes them, with the command line of runc.
#[derive(Debug, Parser)]
#[command(name = "plim-runtime", disable_version_flag = true, arg_required_else_help = true)]
struct Arguments {
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
    #[command(subcommand)]
    command: Option<Command>,
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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            output::keep(error.print());
            let status = u8::try_from(error.exit_code()).unwrap_or(1);
            return output::end("plim-runtime", status, 1);
        }
    };
    let log = match log::Log::open(arguments.log.clone(), arguments.log_format, arguments.debug) {
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

fn dispatch(arguments: Arguments, log: &log::Log) -> Result<u8, (Error, u8)> {
    if arguments.version {
        output::outln!("plim-runtime version {}\nspec: {}", env!("CARGO_PKG_VERSION"), crate::oci::VERSION);
        return Ok(0);
    }
    if arguments.systemd_cgroup {
        let error = Error::new("--systemd-cgroup is not supported")
            .remedy("use the cgroupfs driver, for Docker: \"exec-opts\": [\"native.cgroupdriver=cgroupfs\"]");
        return Err((error, 1));
    }
    let root = arguments.root.unwrap_or_else(default_root);
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
        Command::List(Late(command)) => command.run(&root),
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
