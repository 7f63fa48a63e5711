//! The command `plim-runtime`: an OCI runtime on the command line, with runc's words and flags.
//!
//! One file for each command; here are the global options and how errors are told.

mod create;
mod delete;
mod exec;
mod features;
mod kill;
mod list;
mod log;
mod ps;
mod run;
mod simple;
mod spec;
mod terminal;
mod update;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::container::default_root;
use crate::error::Error;

/// What a command returns: the exit status, where it is not that of an error.
type Outcome = Result<u8, Error>;

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
    Create(create::Create),
    /// Start the application of a created container
    Start(simple::Id),
    /// Make a container and start its application
    Run(run::Run),
    /// Start a further process in a running container
    Exec(exec::Exec),
    /// Print a container's state as JSON
    State(simple::Id),
    /// Send a signal to a container's first process
    Kill(kill::Kill),
    /// Remove a container
    Delete(delete::Delete),
    /// List the containers
    List(list::List),
    /// Freeze all processes of a container
    Pause(simple::Id),
    /// Let frozen processes go on
    Resume(simple::Id),
    /// List the processes of a container
    Ps(ps::Ps),
    /// Change the limits of a container
    Update(update::Update),
    /// Print what this runtime can do, as JSON
    Features,
    /// Write a config.json to start from
    Spec(spec::SpecFile),
}

/// Runs the command with the program's own arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log = log::Log::new(arguments.log.clone(), arguments.log_format, arguments.debug);
    match dispatch(arguments, &log) {
        Ok(status) => ExitCode::from(status),
        Err((error, status)) => {
            log.error(&error.to_string());
            ExitCode::from(status)
        }
    }
}

fn dispatch(arguments: Arguments, log: &log::Log) -> Result<u8, (Error, u8)> {
    if arguments.version {
        println!("plim-runtime version {}\nspec: {}", env!("CARGO_PKG_VERSION"), crate::spec::VERSION);
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
        Command::Create(command) => command.run(&root, log),
        Command::Start(id) => simple::start(&root, &id),
        Command::Run(command) => command.run(&root, log),
        Command::Exec(command) => command.run(&root, log),
        Command::State(id) => simple::state(&root, &id),
        Command::Kill(command) => command.run(&root),
        Command::Delete(command) => command.run(&root),
        Command::List(command) => command.run(&root),
        Command::Pause(id) => simple::pause(&root, &id),
        Command::Resume(id) => simple::resume(&root, &id),
        Command::Ps(command) => command.run(&root),
        Command::Update(command) => command.run(&root),
        Command::Features => features::print(),
        Command::Spec(command) => command.run(),
    };
    outcome.map_err(|error| (error, failure))
}

/// Writes a PID where the caller asked for it; as a whole, because callers watch for the file.
fn write_pid_file(path: Option<&PathBuf>, pid: i32) -> Result<(), Error> {
    use crate::error::Doing;
    let Some(path) = path else { return Ok(()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}"));
    let doing = || format!("--pid-file: writing {}", path.display());
    std::fs::write(&temporary, pid.to_string()).doing(doing)?;
    std::fs::rename(&temporary, path).doing(doing)
}

/// Prints a value as indented JSON.
fn print_json(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::new(error.to_string()))?;
    println!("{text}");
    Ok(0)
}
