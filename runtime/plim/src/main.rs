//! The program `plim`: a daemonless, Docker-compatible engine.

use std::process::ExitCode;

fn main() -> ExitCode {
    plim::main_as_called()
}
