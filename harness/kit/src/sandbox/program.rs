//! The program in whose processes kernel checks run, and the fake host that plays the host. The harness has threads and
//! so can neither fork nor change its namespaces; this program has one.

use std::process::ExitCode;

use nix::sched::CloneFlags;
use nix::sys::signal::Signal;

use super::play::play;
use super::{enter, tries};
use crate::check::Check;
use crate::role::SANDBOX;
use crate::trouble::{Doing, Trouble};

/// Runs the program with its own arguments; `find` knows the checks by their ids.
pub fn main(find: impl Fn(&str) -> Option<&'static Check>) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["host"] => host(),
        ["enter", pid, called, program, arguments @ ..] => enter::host(pid, called, program, arguments),
        ["exec", pid, skip, cgroups, pid_file, program @ ..] => {
            let program = if program.is_empty() { &["/probe", "serve"] } else { program };
            enter::container(pid, skip, *cgroups == "join", pid_file, program)
        }
        ["services", pid, kept, services] => super::services::services(pid, kept, services),
        ["leak", path, called, program, arguments @ ..] => enter::leak(path, called, program, arguments),
        ["check", id, dir, tag, fault @ ..] => {
            // A killed harness takes its scenes with it.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            match find(id) {
                Some(check) => play(check, dir, tag, fault.first().copied()),
                None => Err(Trouble::Harness(format!("no check '{id}'"))),
            }
        }
        ["try", words @ ..] => tries::perform(words),
        other => Err(Trouble::Harness(format!("unknown arguments {other:?}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::errln!("{SANDBOX}: {}", error.into_text());
            ExitCode::FAILURE
        }
    }
}

/// Plays the host: namespaces of its own, and every mount shared.
fn host() -> Result<(), Trouble> {
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET;
    nix::sched::unshare(flags).doing("unshare")?;
    // First private, so that nothing of the fake host reaches the real host.
    for kind in [nix::mount::MsFlags::MS_PRIVATE, nix::mount::MsFlags::MS_SHARED] {
        nix::mount::mount(None::<&str>, "/", None::<&str>, kind | nix::mount::MsFlags::MS_REC, None::<&str>)
            .doing("setting the propagation of /")?;
    }
    probe::serve();
    Ok(())
}
