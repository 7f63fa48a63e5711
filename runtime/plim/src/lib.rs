//! Docker-compatible command line; one file per command group.

mod build;
mod commit;
mod containers;
mod copy;
mod exec;
mod groups;
mod images;
mod inspect;
mod listing;
mod network;
mod progress;
#[cfg(feature = "registry")]
mod registry;
mod run;
mod system;
mod template;
mod volume;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use engine::containers::{Attach, Engine, Helper, monitor};
use engine::network::publish;
use runtime::error::{Error, Result};

/// An exit status, or an error with the status that tells of it.
type Outcome = Result<u8, (Error, u8)>;

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

#[derive(Debug, Subcommand)]
enum Command {
    /// Make and start a container
    #[command(override_usage = "plim run [OPTIONS] IMAGE [COMMAND]...")]
    Run(Box<run::Run>),
    /// Make a container without starting it
    #[command(override_usage = "plim create [OPTIONS] IMAGE [COMMAND]...")]
    Create(Box<run::Create>),
    /// Start containers that were made or have ended
    Start(run::Start),
    /// Stop and start containers again
    Restart(containers::Stop),
    /// Run a command in a running container
    #[command(override_usage = "plim exec [OPTIONS] CONTAINER COMMAND...")]
    Exec(exec::Exec),
    /// List containers
    Ps(containers::Ps),
    /// Print a container's output
    Logs(containers::Logs),
    /// Ask containers to end, and kill them after a grace time
    Stop(containers::Stop),
    /// Send a signal to containers
    Kill(containers::Kill),
    /// Remove containers
    Rm(containers::Rm),
    /// Give a container another name
    Rename(containers::Rename),
    /// Wait until containers have ended and print their exit statuses
    Wait(containers::Names),
    /// Freeze all processes of containers
    Pause(containers::Names),
    /// Let frozen processes go on
    Unpause(containers::Names),
    /// Print everything known about containers, images, volumes or networks
    Inspect(inspect::Inspect),
    /// List the processes of a container
    Top(containers::Top),
    /// Show what containers use
    Stats(containers::Stats),
    /// List the changes in a container's file system
    Diff(inspect::Diff),
    /// List the published ports of a container
    Port(inspect::Port),
    /// Copy files between a container and this machine
    Cp(copy::Cp),
    /// Make an image of a container's changes
    Commit(commit::Commit),
    /// Write a container's file system as a tar archive
    Export(copy::Export),
    /// List images
    Images(images::Images),
    /// Remove images
    Rmi(images::Rmi),
    /// Give an image another name
    Tag(images::Tag),
    /// Show how an image was made
    History(images::History),
    /// Write images to an archive
    Save(images::Save),
    /// Read images from an archive
    Load(images::Load),
    /// Make an image from the archive of a file system
    Import(images::Import),
    /// Build an image from a Dockerfile
    Build(build::Build),
    /// Log in to a registry
    #[cfg(feature = "registry")]
    Login(registry::Login),
    /// Forget a registry's login
    #[cfg(feature = "registry")]
    Logout(registry::Logout),
    /// Fetch an image from a registry
    #[cfg(feature = "registry")]
    Pull(registry::Pull),
    /// Send an image to a registry
    #[cfg(feature = "registry")]
    Push(registry::Push),
    /// Manage containers
    #[command(subcommand)]
    Container(Box<groups::Container>),
    /// Manage images
    #[command(subcommand)]
    Image(Box<groups::Image>),
    /// Manage volumes
    #[command(subcommand)]
    Volume(volume::Volume),
    /// Manage networks
    #[command(subcommand)]
    Network(network::Network),
    /// Manage the data root
    #[command(subcommand)]
    System(system::System),
    /// Watch a container
    #[command(hide = true)]
    Monitor {
        #[arg(long)]
        control: i32,
        #[arg(long)]
        attach: String,
        id: String,
    },
    /// Carry published ports
    #[command(hide = true)]
    Proxy { ports: Vec<String> },
}

/// Reads a command line, the program's name included, and does nothing.
///
/// # Errors
/// What the program would print: what is wrong with it, or the help that it asks for.
pub fn understand(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<(), String> {
    Arguments::try_parse_from(arguments).map(drop).map_err(|error| error.to_string())
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
    let failure = if matches!(command, Command::Run(_) | Command::Create(_)) { 125 } else { 1 };
    let run = arguments.run_root.unwrap_or_else(|| Engine::default_run(&arguments.data_root));
    let engine = Engine::open(&arguments.data_root, &run, own_program()).map_err(|error| (error, failure))?;
    let done = |outcome: Result<()>| outcome.map(|()| 0).map_err(|error| (error, 1));
    match command {
        Command::Run(command) => command.run(&engine),
        Command::Create(command) => command.run(&engine),
        Command::Start(command) => command.run(&engine),
        Command::Restart(command) => done(command.restart(&engine)),
        Command::Exec(command) => command.run(&engine),
        Command::Ps(command) => done(command.run(&engine)),
        Command::Logs(command) => done(command.run(&engine)),
        Command::Stop(command) => done(command.run(&engine)),
        Command::Kill(command) => done(command.run(&engine)),
        Command::Rm(command) => done(command.run(&engine)),
        Command::Rename(command) => done(command.run(&engine)),
        Command::Wait(command) => done(command.wait(&engine)),
        Command::Pause(command) => done(command.pause(&engine)),
        Command::Unpause(command) => done(command.unpause(&engine)),
        Command::Inspect(command) => done(command.run(&engine)),
        Command::Top(command) => done(command.run(&engine)),
        Command::Stats(command) => done(command.run(&engine)),
        Command::Diff(command) => done(command.run(&engine)),
        Command::Port(command) => done(command.run(&engine)),
        Command::Cp(command) => done(command.run(&engine)),
        Command::Commit(command) => done(command.run(&engine)),
        Command::Export(command) => done(command.run(&engine)),
        Command::Images(command) => done(command.run(&engine)),
        Command::Rmi(command) => done(command.run(&engine)),
        Command::Tag(command) => done(command.run(&engine)),
        Command::History(command) => done(command.run(&engine)),
        Command::Save(command) => done(command.run(&engine)),
        Command::Load(command) => done(command.run(&engine)),
        Command::Import(command) => done(command.run(&engine)),
        Command::Build(command) => done(command.run(&engine)),
        #[cfg(feature = "registry")]
        Command::Login(command) => done(command.run()),
        #[cfg(feature = "registry")]
        Command::Logout(command) => done(command.run()),
        #[cfg(feature = "registry")]
        Command::Pull(command) => done(command.run(&engine)),
        #[cfg(feature = "registry")]
        Command::Push(command) => done(command.run(&engine)),
        Command::Volume(command) => done(command.run(&engine)),
        Command::Network(command) => done(command.run(&engine)),
        Command::System(command) => done(command.run(&engine)),
        Command::Monitor { control, attach, id } => {
            let attach: Attach = serde_json::from_str(&attach)
                .map_err(|error| (Error::new(format!("--attach: {error}")), 1))?;
            done(monitor(&engine, &id, control, attach))
        }
        Command::Proxy { .. } | Command::Container(_) | Command::Image(_) => Ok(0),
    }
}

/// A number of bytes, as `--memory` takes it: a number and one of b, k, m, g.
fn parse_bytes(text: &str) -> Result<u64> {
    let bad = || {
        Error::new(format!("invalid size '{text}'"))
            .remedy("sizes are a number and one of b, k, m, g, such as 64m")
    };
    let lower = text.to_lowercase();
    let digits = lower.trim_end_matches("ib").trim_end_matches('b');
    let (number, factor) = match digits.chars().last() {
        Some('k') => (&digits[..digits.len() - 1], 1_u64 << 10),
        Some('m') => (&digits[..digits.len() - 1], 1 << 20),
        Some('g') => (&digits[..digits.len() - 1], 1 << 30),
        Some('t') => (&digits[..digits.len() - 1], 1 << 40),
        _ => (digits, 1),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(bad)
}

/// A number of bytes for people.
fn show_bytes(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string().replace(' ', "")
}

/// How long ago something was, for people.
fn show_age(time: &str) -> String {
    let Ok(then) = humantime::parse_rfc3339(time) else { return String::new() };
    let Ok(age) = std::time::SystemTime::now().duration_since(then) else { return "just now".to_owned() };
    let seconds = age.as_secs();
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

/// Prints values as indented JSON.
fn print_json(values: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(values).map_err(|error| Error::new(error.to_string()))?;
    output::document(&text);
    Ok(())
}

/// This very program, whatever became of its file: it is also the one that watches containers.
fn own_program() -> Helper {
    Helper { program: "/proc/self/exe".into(), name: "plim".into() }
}

/// Prints rows under their headings, in columns.
fn print_table(headings: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|cell| output::text::word(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let text: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        output::showln!("{}", text.join("   ").trim_end());
    };
    line(&mut headings.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(AsRef::as_ref));
    }
}

/// Does something for each of several things, tells what failed, and fails at the end if anything did.
fn each<T: AsRef<str>>(names: &[T], mut act: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut last = None;
    for name in names {
        if let Err(error) = act(name.as_ref())
            && let Some(earlier) = last.replace(error)
        {
            output::complainln!("plim: {earlier}");
        }
    }
    last.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("64m").unwrap(), 64 << 20);
        assert_eq!(parse_bytes("1g").unwrap(), 1 << 30);
        assert_eq!(parse_bytes("10").unwrap(), 10);
        assert_eq!(parse_bytes("10KiB").unwrap(), 10240);
        for wrong in ["", "m", "x", "-1", "99999999999t"] {
            assert!(parse_bytes(wrong).unwrap_err().to_string().contains("invalid size"), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn ages_are_for_people() {
        assert_eq!(show_age("2000-01-01T00:00:00Z").split(' ').nth(1), Some("days"));
        assert_eq!(show_age("nonsense"), "");
    }
}
