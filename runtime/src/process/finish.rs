//! The last steps of every process of a container, first or later: identity, rights, execve(2).

use std::convert::Infallible;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, sigprocmask};
use nix::unistd::{AccessFlags, access, execve};

use super::channel::Channel;
use super::credentials::{self, CapabilitySets};
use super::label::Labels;
use super::scheduling;
use super::seccomp::Filter;
use crate::error::{Doing, Error, Kind, Result};
use crate::oci::{Linux, Process};
use crate::rootfs::resolve::Root;

/// Files of users are small; an image with a larger one wants to fill the memory.
const LARGEST_PASSWD: u64 = 4 << 20;

/// Where programs are looked for if the configuration names no place.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What was read and checked before anything was made.
#[derive(Debug)]
pub(super) struct Finish<'a> {
    pub(super) process: &'a Process,
    pub(super) linux: &'a Linux,
    pub(super) capabilities: &'a CapabilitySets,
    pub(super) filter: Option<&'a Filter>,
    /// Who gets the listener of the filter, if it has one.
    pub(super) listener: Option<&'a Channel>,
}

/// The runtime blocks signals to read them one by one, and ignores SIGPIPE: an application must inherit neither.
pub(super) fn reset_signals() -> Result<()> {
    sigprocmask(nix::sys::signal::SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .doing(|| "unblocking signals")?;
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler function is installed.
    unsafe { sigaction(Signal::SIGPIPE, &default) }.map(drop).doing(|| "resetting SIGPIPE")
}

/// Variables, of those with one name the last: programs differ in which one they take.
fn last_of_each(env: &[String]) -> Vec<&str> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<&str> =
        env.iter().rev().map(String::as_str).filter(|entry| seen.insert(name(entry))).collect();
    kept.reverse();
    kept
}

/// Docker's status for a working directory that cannot be entered is the one of a program that is missing, or may not be executed.
fn kind_of_cwd(errno: Option<i32>) -> Kind {
    match errno {
        Some(libc::ENOENT) => Kind::NoProgram,
        Some(libc::EACCES | libc::ENOTDIR) => Kind::NotExecutable,
        _ => Kind::Other,
    }
}

impl Finish<'_> {
    /// Enters the working directory.
    pub(super) fn enter_cwd(&self) -> Result<()> {
        let cwd = &self.process.cwd;
        let doing = || format!("config.json: process.cwd: entering {}", cwd.display());
        let dir = Root::open(Path::new("/"))?.find(cwd).map_err(|error| {
            let kind = kind_of_cwd(error.errno());
            Error::new(format!("config.json: process.cwd: {error}")).of_kind(kind)
        })?;
        rustix::process::fchdir(&dir).doing(doing).map_err(|error| {
            let kind = kind_of_cwd(error.errno());
            error.of_kind(kind)
        })?;
        // A directory that was reached through a leaked descriptor lies outside the root (CVE-2024-21626), and
        // getcwd then gives no absolute path.
        match nix::unistd::getcwd() {
            Ok(path) if path.is_absolute() => Ok(()),
            other => Err(Error::new(format!("{}: it lies outside the container ({other:?})", doing()))),
        }
    }

    /// Finds the program as execvp(3) does, so that a missing one is known before `start`.
    pub(super) fn find_program(&self) -> Result<PathBuf> {
        let name = &self.process.args[0];
        let refuse = |kind: Kind, why: &str| {
            Error::new(format!("config.json: process.args: exec: \"{name}\": {why}"))
                .of_kind(kind)
                .remedy("the path is looked up inside the container's root file system")
        };
        if name.contains('/') {
            let path = PathBuf::from(name);
            return match access(&path, AccessFlags::X_OK) {
                // Engines give the status 126 to what names a permission, as execve(2) itself does for a directory.
                Ok(()) if path.is_dir() => {
                    Err(refuse(Kind::NotExecutable, "is a directory: permission denied"))
                }
                Ok(()) => Ok(path),
                Err(Errno::ENOENT) => Err(refuse(Kind::NoProgram, "no such file or directory")),
                Err(Errno::EACCES) => Err(refuse(Kind::NotExecutable, "permission denied")),
                Err(error) => Err(refuse(Kind::of_exec(error), &error.desc().to_lowercase())),
            };
        }
        let path = self.variable("PATH").unwrap_or(DEFAULT_PATH);
        path.split(':')
            .map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name))
            .find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok())
            .ok_or_else(|| refuse(Kind::NoProgram, "executable file not found in $PATH"))
    }

    /// Gives up every right that the process is not to have, and becomes the application.
    pub(super) fn execute(&self, program: &Path, labels: &Labels) -> Result<Infallible> {
        let process = self.process;
        let home = self.home();
        labels.set()?;
        credentials::set_rlimits(&process.rlimits)?;
        scheduling::apply(process, self.linux)?;
        if process.no_new_privileges {
            rustix::thread::set_no_new_privs(true).doing(|| "setting no_new_privs")?;
        }
        credentials::become_user(process, self.capabilities)?;
        if !process.no_new_privileges {
            // Without no_new_privs it takes CAP_SYS_ADMIN, which is about to go.
            self.install_filter()?;
        }
        self.capabilities.give_up_others()?;
        if process.no_new_privileges {
            self.install_filter()?;
        }
        let text = |text: &str| {
            CString::new(text).map_err(|_| {
                Error::new(format!("config.json: process: '{}' has a NUL byte", text.escape_debug()))
            })
        };
        let arguments: Vec<CString> =
            process.args.iter().map(|argument| text(argument)).collect::<Result<_>>()?;
        let environment = last_of_each(&process.env).into_iter().filter(|entry| *entry != "HOME=");
        let environment: Vec<CString> =
            environment.chain(home.as_deref()).map(text).collect::<Result<_>>()?;
        let path = CString::new(program.as_os_str().as_bytes()).expect("an argument without NUL");
        execve(&path, &arguments, &environment).map_err(|errno| {
            // The words are those by which engines know what went wrong.
            let error = Error::new(format!("exec {}: {}", program.display(), errno.desc().to_lowercase()));
            let error = error.of_kind(Kind::of_exec(errno));
            match errno {
                Errno::ENOENT => error.remedy(
                    "for a file that exists, it means that its interpreter or dynamic loader is missing in the image",
                ),
                Errno::ENOEXEC => error.remedy(
                    "engines take it as permission denied: is it a program for this architecture, or a script without #!?",
                ),
                _ => error,
            }
        })
    }

    fn install_filter(&self) -> Result<()> {
        let Some(filter) = self.filter else { return Ok(()) };
        match (filter.install()?, self.listener) {
            (None, _) => Ok(()),
            (Some(listener), Some(channel)) => channel.send_listener(&listener),
            (Some(_), None) => Err(Error::new("linux.seccomp: nobody takes the listener")),
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.process.env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }

    /// Shells and tools need HOME; where the configuration has none, it is the user's of the container.
    fn home(&self) -> Option<String> {
        if self.variable("HOME").is_some_and(|home| !home.is_empty()) {
            return None;
        }
        let uid = self.process.user.uid.to_string();
        // The file is the image's: it may be a device without end, or a pipe. Then nobody is known.
        let passwd = Root::open(Path::new("/"))
            .and_then(|root| root.read_bounded(Path::new("/etc/passwd"), LARGEST_PASSWD))
            .unwrap_or_default();
        let passwd = String::from_utf8_lossy(&passwd);
        let dir = passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.get(2) == Some(&uid.as_str())).then(|| fields.get(5).copied())?
        });
        Some(format!("HOME={}", dir.filter(|dir| !dir.is_empty()).unwrap_or("/")))
    }
}

#[cfg(test)]
mod tests {
    use super::last_of_each;

    #[test]
    fn of_variables_with_one_name_the_last_is_kept() {
        let env = ["A=1", "AB=2", "A=", "B=3=4"].map(str::to_owned);
        assert_eq!(last_of_each(&env), ["AB=2", "A=", "B=3=4"]);
    }
}
