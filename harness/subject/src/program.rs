//! A program that is started as a subject.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program, and the name under which it is called: a program with several names does what the name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    called: Option<&'static str>,
}

/// A program that executes another one: it is given its own arguments, the name under which the other is to be called, and the
/// other's path and arguments.
#[derive(Debug, Clone)]
pub struct Through {
    /// The program.
    pub program: PathBuf,
    /// The name under which it is called.
    pub called: &'static str,
    /// Its own arguments.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// A program that is called by its path. A link stays one: its name says what the program is to do.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), called: None }
    }

    /// A program that is called by another name.
    pub fn called(path: impl Into<PathBuf>, name: &'static str) -> Self {
        Self { path: path.into(), called: Some(name) }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name under which it is called.
    pub fn name(&self) -> &OsStr {
        self.called.map_or(self.path.as_os_str(), OsStr::new)
    }

    /// A command of it, executed by `through` if there is one.
    pub fn command(&self, through: Option<&Through>) -> Command {
        let mut command = match through {
            None => {
                let mut command = Command::new(&self.path);
                command.arg0(self.name());
                command
            }
            Some(Through { program, called, arguments }) => {
                let mut command = Command::new(program);
                command.arg0(called).args(arguments).arg(self.name()).arg(&self.path);
                command
            }
        };
        command.stdin(Stdio::null());
        command
    }
}

/// What a command that ended badly said, in one line.
pub fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    format!("{}: {}", output.status, said.trim().replace('\n', " "))
}
