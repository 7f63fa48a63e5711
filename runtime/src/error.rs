//! The one error type of the core: what was being done, why it failed, and the remedy.

use std::fmt;
use std::io;

/// A failed step: what was being done (naming the field, file or object), the cause, and a remedy where one
/// is known. Displays as one line.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    doing: String,
    cause: Option<io::Error>,
    remedy: Option<String>,
}

/// What callers tell errors apart by; the words are for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Anything that nobody tells apart.
    #[default]
    Other,
    /// The program, or the interpreter that it names, does not exist in the container.
    NoProgram,
    /// The program exists and cannot be executed.
    NotExecutable,
}

impl Kind {
    /// The kind of a failed execve(2).
    pub fn of_exec(errno: nix::errno::Errno) -> Self {
        match errno {
            nix::errno::Errno::ENOENT => Self::NoProgram,
            _ => Self::NotExecutable,
        }
    }

    /// The exit status by which Docker's `run`, `start` and `exec` tell of an error of this kind: 127 and 126 for the two kinds
    /// of programs that cannot be started, `other` for everything else.
    pub fn exit_status(self, other: u8) -> u8 {
        match self {
            Self::NoProgram => 127,
            Self::NotExecutable => 126,
            Self::Other => other,
        }
    }
}

/// Shorthand for results of the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that is complete in itself, such as a contradiction in a configuration.
    pub fn new(what: impl Into<String>) -> Self {
        Self { kind: Kind::Other, doing: what.into(), cause: None, remedy: None }
    }

    /// The same error as one of a kind.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same error with advice that a user can act on.
    #[must_use]
    pub fn remedy(mut self, advice: impl Into<String>) -> Self {
        self.remedy = Some(advice.into());
        self
    }

    /// The kernel's error number behind it, if the kernel was what refused.
    pub fn errno(&self) -> Option<i32> {
        self.cause.as_ref().and_then(io::Error::raw_os_error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, " ({remedy})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// Says what was being done when a lower-level call failed.
pub trait Doing<T> {
    /// Wraps the cause; `what` is only built on failure.
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|cause| Error {
            kind: Kind::Other,
            doing: what().into(),
            cause: Some(cause.into()),
            remedy: None,
        })
    }
}

/// Adds advice to an error that already says what was being done.
pub trait Remedy {
    /// `advice` is only built on failure.
    #[must_use]
    fn or_advise<S: Into<String>>(self, advice: impl FnOnce() -> S) -> Self;
}

impl<T> Remedy for Result<T> {
    fn or_advise<S: Into<String>>(self, advice: impl FnOnce() -> S) -> Self {
        self.map_err(|error| error.remedy(advice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn one_line_names_step_cause_and_remedy() {
        let error = Err::<(), _>(Errno::EINVAL)
            .doing(|| "writing '1' to memory.limit_in_bytes")
            .or_advise(|| "ask for a larger linux.resources.memory.limit")
            .unwrap_err();
        assert_eq!(error.errno(), Some(libc::EINVAL));
        assert_eq!(
            error.to_string(),
            "writing '1' to memory.limit_in_bytes: Invalid argument (os error 22) \
             (ask for a larger linux.resources.memory.limit)"
        );
    }
}
