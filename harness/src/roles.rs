//! One program file with several names, told apart by the name under which it is called: what goes into a container
//! or a guest is then a single static file, and there is nothing to find or to install beside it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use matrix::guest;

/// Runs the program that the name stands for; `None` if this is `plimsoll` itself. To be called before any thread
/// is started.
pub fn dispatch() -> Option<ExitCode> {
    let name = std::env::args_os().next()?;
    match Path::new(&name).file_name().and_then(OsStr::to_str)? {
        probe::NAME | probe::SHELL => Some(probe::main()),
        kit::sandbox::NAME => Some(kit::sandbox::main(catalogue::find)),
        guest::NAME => Some(guest::main()),
        guest::SETTLE => Some(guest::settle()),
        subject::CORE => Some(runtime::cli::main().into()),
        subject::ENGINE => Some(plim::main()),
        name if name == plim::first_process() => Some(plim::init()),
        _ => None,
    }
}
