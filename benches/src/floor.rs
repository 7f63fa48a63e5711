//! The least that a container can cost: namespaces, an overlay, a new root and execve, and nothing else.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use runtime::overlay::Stack;
use runtime::process::clone::{Side, clone3};
use runtime::process::pidfd;
use runtime::rootfs::switch;

/// Starts a program in all namespaces but the user's, on an overlay, and waits for its end.
///
/// # Errors
/// The kernel refuses, or the program failed.
pub fn run(lower: &Path, work: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    let told = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    for dir in ["upper", "work", "merged"] {
        std::fs::create_dir_all(work.join(dir)).map_err(|error| told("making a directory", &error))?;
    }
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    let path = CString::new(program).map_err(|error| told("the program", &error))?;
    let words: Vec<CString> = std::iter::once(program)
        .chain(arguments.iter().copied())
        .map(CString::new)
        .collect::<Result<_, _>>()
        .map_err(|error| told("an argument", &error))?;
    // SAFETY: the caller has one thread; the child executes or ends at once.
    let child = match unsafe { clone3(flags, None) }.map_err(|error| told("clone3", &error))? {
        Side::Parent(child) => child,
        Side::Child => {
            let done = become_program(lower, work, &path, &words);
            let text = done.err().unwrap_or_default();
            let _ = nix::unistd::write(std::io::stderr(), text.as_bytes());
            // SAFETY: ends the child alone.
            unsafe { libc::_exit(111) }
        }
    };
    match pidfd::reap(&child.pidfd).map_err(|error| told("waiting", &error))? {
        0 => Ok(()),
        status => Err(format!("the program ended with {status}")),
    }
}

fn become_program(lower: &Path, work: &Path, path: &CString, words: &[CString]) -> Result<(), String> {
    let merged = work.join("merged");
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(|error| error.to_string())?;
    let stack = Stack {
        lower: vec![lower.to_owned()],
        upper: Some((work.join("upper"), work.join("work"))),
        options: Vec::new(),
    };
    stack.mount(&merged).map_err(|error| error.to_string())?;
    switch::pivot(&merged).map_err(|error| error.to_string())?;
    let none: [CString; 0] = [];
    nix::unistd::execve(path, words, &none).map_err(|error| {
        format!("execve {}: {error}", Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).display())
    })?;
    Ok(())
}
