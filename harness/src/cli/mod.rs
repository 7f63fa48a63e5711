//! The command `plimsoll`.

mod bisect;
mod check;
mod diff;
mod differ;
mod differ_faults;
mod differ_watch;
mod doctor;
mod explain;
mod extras;
mod failed;
mod forms;
mod look;
mod matrix;
mod mutants;
mod own_kernels;
mod progress;
mod prove;
mod regress;
mod report;
mod selecting;
mod sockets;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failed::Failed;
use record::status::TROUBLE;

/// The meaning of the exit status, as `--help` tells it.
const STATUSES: &str = "Exit status: 0 all that was tried passed, 1 a claim failed, 2 the harness or a row had trouble, 3 nothing was \
                        tried or less than --require asks, 128 and the signal's number if a signal ended it";

/// Proves, kernel by kernel, that a host really does what containers rely on.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run checks on this machine
    #[command(after_help = STATUSES)]
    Check(check::Check),
    /// List the checks
    List(explain::List),
    /// Say what a check claims, why, what it needs, and how to run it by hand
    Explain(explain::Explain),
    /// Run each check against its faults, or small mutations of what it asks for, and list those that stay green: they prove
    /// nothing
    #[command(after_help = STATUSES)]
    Prove(prove::Prove),
    /// Run checks on old versions of runtimes, and say which of their known bugs are found
    #[command(after_help = STATUSES)]
    Regress(regress::Known),
    /// Run the catalogue on other kernels and cgroup layouts, in virtual machines
    #[command(after_help = STATUSES)]
    Matrix(matrix::Matrix),
    /// Find between which two kernels of the list a check begins to say something else. Exit status 3: nothing to look for
    #[command(after_help = STATUSES)]
    Bisect(bisect::Bisect),
    /// Show records of runs and matrices again: as a table, a page, JUnit, KTAP, Markdown, charts
    #[command(after_help = STATUSES)]
    Report(report::Report),
    /// Say what changed between two records. Exit status 1 means that something got worse
    #[command(after_help = STATUSES)]
    Diff(diff::Diff),
    /// Give the same generated containers to several runtimes, and say what differs. Exit status 1: a difference that nobody knew
    #[command(after_help = STATUSES)]
    Differ(differ::Differ),
    /// Measure what containers cost, side by side (the program plimsoll-bench, which is built beside this one)
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of plimsoll-bench
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Say what this host has and lacks, and which command brings it
    #[command(after_help = doctor::STATUSES)]
    Doctor(doctor::Doctor),
    /// Remove what killed runs left on this host
    Clean,
    /// Print the completions of a shell: plimsoll completion bash > /etc/bash_completion.d/plimsoll
    Completion(extras::Completion),
    /// Write the pages of the manual
    Man(extras::Man),
}

/// Runs the command with the program's own arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            output::keep(error.print());
            let status = u8::try_from(error.exit_code()).unwrap_or(TROUBLE);
            return ExitCode::from(output::end("plimsoll", status, TROUBLE));
        }
    };
    let done = match arguments.command {
        Command::Check(command) => command.run(),
        Command::List(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Prove(command) => command.run(),
        Command::Regress(command) => command.run(),
        Command::Matrix(command) => command.run(),
        Command::Bisect(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Differ(command) => command.run(),
        Command::Bench { arguments } => bench(&arguments),
        Command::Doctor(command) => command.run(),
        Command::Clean => clean(),
        Command::Completion(command) => command.run(Arguments::command()),
        Command::Man(command) => command.run(Arguments::command()),
    };
    let status = done.unwrap_or_else(|error| {
        output::errln!("plimsoll: {}", error.text());
        TROUBLE
    });
    ExitCode::from(output::end("plimsoll", status, TROUBLE))
}

/// The crate benches depends on this one, so measurements are a program of their own.
fn bench(arguments: &[std::ffi::OsString]) -> Result<u8, Failed> {
    use std::os::unix::process::CommandExt;
    let own = std::env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
    let beside = own.with_file_name("plimsoll-bench");
    let program = if beside.exists() { beside } else { "plimsoll-bench".into() };
    let error = std::process::Command::new(&program).args(arguments).exec();
    Err(Failed::new(format!(
        "bench: starting {}: {error} (cargo build --release --workspace makes it)",
        program.display()
    )))
}

fn clean() -> Result<u8, Failed> {
    let (done, failed) = kit::clean::clean()?;
    done.iter().for_each(|what| output::outln!("removed {what}"));
    if done.is_empty() && failed.is_empty() {
        output::outln!("nothing to remove");
    }
    if failed.is_empty() { Ok(0) } else { Err(Failed::new(failed.join("\n"))) }
}
