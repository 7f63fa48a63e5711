//! One program file with several names, told apart by the name under which it is called: what goes into a container
//! or a guest is then a single static file, and there is nothing to find or to install beside it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

/// Name of the program that runs inside containers.
pub const PROBE: &str = "probe";
/// Name of the program that runs kernel checks in namespaces of its own.
pub const LAB: &str = "plimsoll-lab";
/// Name of our own OCI runtime.
pub const CORE: &str = "plim-runtime";

/// Name of our own engine.
pub const ENGINE: &str = "plim";
/// The probe as a shell of containers.
const SHELL: &str = "sh";

/// Name of the first process of a guest.
pub const GUEST: &str = "init";

/// Name under which it makes an emulated machine with one processor ready for the others.
const SETTLE: &str = "plimsoll-settle";

/// Runs the program that the name stands for; `None` if this is `plimsoll` itself. To be called before any thread
/// is started.
pub fn dispatch() -> Option<ExitCode> {
    let name = std::env::args_os().next()?;
    match Path::new(&name).file_name().and_then(OsStr::to_str)? {
        PROBE => Some(crate::probe::main()),
        LAB => Some(crate::lab::main()),
        GUEST => Some(crate::matrix::guest::main()),
        SETTLE => Some(crate::matrix::guest::settle()),
        CORE => Some(runtime::cli::main().into()),
        ENGINE => Some(plim::main()),
        SHELL => Some(crate::probe::main()),
        _ => None,
    }
}
