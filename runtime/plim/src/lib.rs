//! Docker-compatible command line; one file per command group.

mod about;
mod build;
mod command;
mod commit;
mod containers;
mod copy;
mod documents;
mod exec;
mod groups;
mod history;
mod images;
mod init;
mod inspect;
mod listing;
mod logs;
mod network;
mod progress;
mod ps;
#[cfg(feature = "registry")]
mod registry;
mod run;
mod shared;
mod system;
mod template;
mod time;
mod ungroup;
mod update;
mod usage;
mod volume;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use command::Command;
use engine::containers::{Attach, Engine, Helper, monitor};
use engine::network::publish;
use runtime::error::{Error, Result};
use shared::Outcome;

#[derive(Debug, Parser)]
#[command(
    name = "plim",
    version,
    about = "A daemonless, Docker-compatible engine for images and containers",
    arg_required_else_help = true
)]
struct Arguments {
    /// Directory of images, containers, volumes and networks
    #[arg(long, value_name = "DIR", env = "PLIM_DATA_ROOT", default_value_os_t = Engine::default_data())]
    data_root: PathBuf,
    /// Directory of the states of running containers; by default /run/plim, or below another data root
    #[arg(long, value_name = "DIR")]
    run_root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// Reads a command line, the program's name included, and does nothing.
///
/// # Errors
/// What the program would print: what is wrong with it, or the help that it asks for.
pub fn understand(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<(), clap::Error> {
    Arguments::try_parse_from(arguments).map(drop)
}

/// Runs what the program's own name stands for: it is also the first process of containers with `--init`.
pub fn main_as_called() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    if std::path::Path::new(&name).file_name().is_some_and(|name| name == first_process()) {
        return init();
    }
    main()
}

/// The name under which the program is the first process of a container.
pub fn first_process() -> &'static str {
    engine::containers::INIT
}

/// Is the first process of a container.
pub fn init() -> ExitCode {
    ExitCode::from(init::run(std::env::args_os().skip(1)))
}

/// Runs the command with the program's own arguments.
pub fn main() -> ExitCode {
    // Output that nobody reads any more ends a command; Rust's programs ignore that signal.
    let default = nix::sys::signal::SigHandler::SigDfl;
    // SAFETY: no handler function is installed.
    let _ = unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGPIPE, default) };
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            output::keep(error.print());
            // For `run` Docker documents 125 for whatever goes wrong before the container.
            let is_run = std::env::args().any(|argument| argument == "run");
            let status = match (error.use_stderr(), is_run) {
                (false, _) => 0,
                (true, true) => 125,
                (true, false) => 1,
            };
            return ExitCode::from(output::end("plim", status, 1));
        }
    };
    let status = dispatch(arguments).unwrap_or_else(|(error, status)| {
        output::complainln!("plim: {error}");
        status
    });
    ExitCode::from(output::end("plim", status, 1))
}

fn dispatch(arguments: Arguments) -> Outcome {
    let command = match arguments.command {
        Command::Container(command) => Command::from(*command),
        Command::Image(command) => Command::from(*command),
        command => command,
    };
    // It needs nothing of the engine, and starts before there may be one.
    if let Command::Proxy { ports } = &command {
        return publish::carry(ports).map(|()| 0).map_err(|error| (error, 1));
    }
    if let Command::Version(command) = &command {
        return command.run().map(|()| 0).map_err(|error| (error, 1));
    }
    let failure = if matches!(command, Command::Run(_) | Command::Create(_)) { 125 } else { 1 };
    let run = arguments.run_root.unwrap_or_else(|| Engine::default_run(&arguments.data_root));
    let engine = Engine::open(&arguments.data_root, &run, own_program()).map_err(|error| (error, failure))?;
    run_on(&engine, command)
}

/// Runs a command that works on a data root.
// long because each command has a line
fn run_on(engine: &Engine, command: Command) -> Outcome {
    let done = |outcome: Result<()>| outcome.map(|()| 0).map_err(|error| (error, 1));
    match command {
        Command::Run(command) => command.run(engine),
        Command::Create(command) => command.run(engine),
        Command::Start(command) => command.run(engine),
        Command::Restart(command) => done(command.restart(engine)),
        Command::Exec(command) => command.run(engine),
        Command::Ps(command) => done(command.run(engine)),
        Command::Logs(command) => done(command.run(engine)),
        Command::Attach(command) => command.run(engine),
        Command::Update(command) => done(command.run(engine)),
        Command::Info(command) => done(command.run(engine)),
        Command::Events(command) => done(command.run(engine)),
        Command::Stop(command) => done(command.run(engine)),
        Command::Kill(command) => done(command.run(engine)),
        Command::Rm(command) => done(command.run(engine)),
        Command::Rename(command) => done(command.run(engine)),
        Command::Wait(command) => done(command.wait(engine)),
        Command::Pause(command) => done(command.pause(engine)),
        Command::Unpause(command) => done(command.unpause(engine)),
        Command::Inspect(command) => done(command.run(engine)),
        Command::Top(command) => done(command.run(engine)),
        Command::Stats(command) => done(command.run(engine)),
        Command::Diff(command) => done(command.run(engine)),
        Command::Port(command) => done(command.run(engine)),
        Command::Cp(command) => done(command.run(engine)),
        Command::Commit(command) => done(command.run(engine)),
        Command::Export(command) => done(command.run(engine)),
        Command::Images(command) => done(command.run(engine)),
        Command::Rmi(command) => done(command.run(engine)),
        Command::Tag(command) => done(command.run(engine)),
        Command::History(command) => done(command.run(engine)),
        Command::Save(command) => done(command.run(engine)),
        Command::Load(command) => done(command.run(engine)),
        Command::Import(command) => done(command.run(engine)),
        Command::Build(command) => done(command.run(engine)),
        #[cfg(feature = "registry")]
        Command::Login(command) => done(command.run()),
        #[cfg(feature = "registry")]
        Command::Logout(command) => done(command.run()),
        #[cfg(feature = "registry")]
        Command::Pull(command) => done(command.run(engine)),
        #[cfg(feature = "registry")]
        Command::Push(command) => done(command.run(engine)),
        Command::Volume(command) => done(command.run(engine)),
        Command::Network(command) => done(command.run(engine)),
        Command::System(command) => done(command.run(engine)),
        Command::Monitor { control, attach, id } => {
            let attach: Attach = serde_json::from_str(&attach)
                .map_err(|error| (Error::new(format!("--attach: {error}")), 1))?;
            done(monitor(engine, &id, control, attach))
        }
        Command::ContainerPrune(command) => done(command.run(engine)),
        Command::ImagePrune(command) => done(command.run(engine)),
        Command::Health { id } => done(engine.watch_health(&id)),
        Command::Probe(command) => command.run(engine),
        Command::Proxy { .. } | Command::Version(_) | Command::Container(_) | Command::Image(_) => Ok(0),
    }
}

/// This very program, whatever became of its file: it is also the one that watches containers.
fn own_program() -> Helper {
    Helper { program: "/proc/self/exe".into(), name: "plim".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
