//! An engine for images and containers, in the words of docker.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::plim::main()
}
