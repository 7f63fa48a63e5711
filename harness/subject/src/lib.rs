//! Subjects: programs that take an OCI bundle and run it. All are driven as processes, through the command line that
//! runc has made the common one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use record::SubjectInfo;

/// Name under which this program is our own OCI runtime.
pub const CORE: &str = "plim-runtime";
/// Name under which this program is our own engine.
pub const ENGINE: &str = "plim";

/// A runtime to be checked.
#[derive(Debug, Clone)]
pub struct Subject {
    /// How it is called in reports.
    pub name: String,
    /// Its program.
    pub program: PathBuf,
    /// The name under which the program is called, if not its own.
    pub called: Option<&'static str>,
}

impl Subject {
    /// Whether it is an engine: what `docker` does, and not what `runc` does. Our own core is both.
    pub fn is_engine(&self) -> bool {
        self.called.is_some() || self.is_engine_alone()
    }

    /// Whether it is an engine and no runtime.
    pub fn is_engine_alone(&self) -> bool {
        matches!(self.name.as_str(), "podman" | "docker")
    }

    /// Our own runtime core: this very program file, under its other name.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn core() -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
        Ok(Self { name: "core".into(), program, called: Some(CORE) })
    }

    /// A subject by the word that a user gave: `core`, a name to be found in PATH, or a path.
    ///
    /// # Errors
    /// There is no such program.
    pub fn named(word: &str) -> Result<Self, String> {
        if word == "core" {
            return Self::core();
        }
        let path =
            if word.contains('/') { Some(PathBuf::from(word)) } else { runtime::process::in_path(word) };
        let program = path.filter(|path| path.is_file()).ok_or_else(|| {
            format!("--subject {word}: no such program; give `core`, a name in PATH (apt-get install runc), or a path")
        })?;
        // Commands run elsewhere, so the path must not depend on the directory.
        let program = program.canonicalize().map_err(|error| format!("--subject {word}: {error}"))?;
        let name = Path::new(word).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, program, called: None })
    }

    /// What a report says of it.
    pub fn info(&self) -> SubjectInfo {
        let output = self.command(None).arg("--version").output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        SubjectInfo {
            name: self.name.clone(),
            path: self.program.display().to_string(),
            version: text.lines().next().unwrap_or("version unknown").to_owned(),
        }
    }

    /// A command of the subject, to be run by `through` (a program that enters another host, or nothing).
    pub fn command(&self, through: Option<&Through>) -> Command {
        let mut command = match through {
            None => {
                let mut command = Command::new(&self.program);
                if let Some(name) = self.called {
                    command.arg0(name);
                }
                command
            }
            Some(Through { program, called, arguments }) => {
                let mut command = Command::new(program);
                command.arg0(called).args(arguments);
                command
                    .arg(self.called.map_or_else(|| self.program.clone().into_os_string(), OsString::from));
                command.arg(&self.program);
                command
            }
        };
        command.stdin(Stdio::null());
        command
    }
}

/// A program that executes another one: it is given its own arguments, the name under which the other is to be called, and
/// the other's path and arguments.
#[derive(Debug, Clone)]
pub struct Through {
    /// The program.
    pub program: PathBuf,
    /// The name under which it is called.
    pub called: &'static str,
    /// Its own arguments.
    pub arguments: Vec<OsString>,
}

/// What a command that ended badly said, in one line.
pub fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    format!("{}: {}", output.status, said.trim().replace('\n', " "))
}
