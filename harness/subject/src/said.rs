//! What a program says of itself.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use runtime::process::pidfd;

use crate::error::{Error, ErrorKind};
use crate::program::Program;

/// How long a program may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of that is read, in bytes.
const MOST: u64 = 1 << 20;

/// What a program says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// What `--version` prints.
    pub(crate) version: String,
    /// What `features` prints; empty if it has no such command.
    pub(crate) features: String,
}

impl Said {
    /// Asks a program.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub(crate) fn of(program: &Program) -> Result<Self, Error> {
        let (_, version) = ask(program, "--version")?;
        // containerd takes a word that it does not know for none, and begins to serve.
        if version.starts_with("containerd ") {
            return Ok(Self { version, features: String::new() });
        }
        let (worked, features) = ask(program, "features")?;
        Ok(Self { version, features: if worked { features } else { String::new() } })
    }

    /// The first line of its version.
    pub(crate) fn first_line(&self) -> &str {
        self.version.lines().next().unwrap_or_default()
    }

    /// Whether it says that it takes bundles of the OCI runtime specification: by the document that `features` prints, or where that
    /// command is not known yet, by a line of its version. Source: OCI features.md; `--version` of runc, crun and runsc.
    pub(crate) fn is_runtime(&self) -> bool {
        let features = serde_json::from_str::<Features>(&self.features);
        let line = |line: &str| line.strip_prefix("spec: ").is_some_and(begins_with_number);
        features.is_ok_and(|features| begins_with_number(&features.oci_version_max))
            || self.version.lines().any(line)
    }
}

fn begins_with_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}

/// What is looked for in the document of `features`.
#[derive(Debug, serde::Deserialize)]
struct Features {
    #[serde(rename = "ociVersionMax")]
    oci_version_max: String,
}

/// Whether a command worked, and what it printed.
fn ask(program: &Program, word: &str) -> Result<(bool, String), Error> {
    let unusable = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Unusable, format!("{}: {word}: {error}", program.path().display()))
    };
    let mut command = program.command(None);
    command.arg(word).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| unusable(&error))?;
    let mut text = Vec::new();
    let ended = std::thread::scope(|scope| {
        let out = child.stdout.take();
        scope.spawn(|| out.map(|out| out.take(MOST).read_to_end(&mut text)));
        end_in_time(&child)
    });
    let status = child.wait().map_err(|error| unusable(&error))?;
    if !ended.map_err(|error| unusable(&error))? {
        return Err(unusable(&format!("no end within {PATIENCE:?}")));
    }
    Ok((status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// Whether a process ends in time; one that does not is ended.
fn end_in_time(child: &Child) -> runtime::Result<bool> {
    let process = pidfd::open(child.id().cast_signed())?;
    let ended = pidfd::wait_exit(process.as_fd(), PATIENCE)?;
    if !ended {
        pidfd::signal(process.as_fd(), Signal::SIGKILL)?;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(version: &str, features: &str) -> Said {
        Said { version: version.into(), features: features.into() }
    }

    #[test]
    fn runtimes_are_known_by_what_they_say() {
        assert!(said("runc version 1.1.5+ds1\ncommit: x\nspec: 1.0.2-dev\ngo: go1.19.8\n", "").is_runtime());
        assert!(said("crun version 1.8.1\nspec: 1.0.0\n+SYSTEMD\n", "").is_runtime());
        assert!(
            said("youki version 0.5.0\n", r#"{"ociVersionMin":"1.0.0","ociVersionMax":"1.2.0"}"#)
                .is_runtime()
        );
        assert!(!said("true (GNU coreutils) 9.1\n", "").is_runtime());
        assert!(!said("podman version 4.3.1\n", r#"{"error": "none"}"#).is_runtime());
        assert!(!said("spec: see the manual\n", "{}").is_runtime());
    }
}
