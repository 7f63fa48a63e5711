//! From the word that a user gave to a subject: what it is, it says itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use record::SubjectInfo;

use crate::containerd::Containerd;
use crate::docker::Docker;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::plim::{self, Plim};
use crate::plim_runtime::{self, PlimRuntime};
use crate::podman::Podman;
use crate::program::Program;
use crate::runc::RuncLike;
use crate::runtime::Runtime;
use crate::said::Said;

/// What is checked under one name: a runtime, an engine, or both.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What a report says of it.
    pub info: SubjectInfo,
    /// The runtime, which takes checks of runtimes.
    pub runtime: Option<Arc<dyn Runtime>>,
    /// The engine, which takes checks of engines.
    pub engine: Option<Arc<dyn Engine>>,
}

/// The word for what this program itself is.
const CORE: &str = "core";

impl Subject {
    /// Our own runtime and engine: this very program file, under its other names.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn core() -> Result<Self, Error> {
        let file = std::env::current_exe()
            .map_err(|error| Error::new(ErrorKind::Unusable, format!("finding this program: {error}")))?;
        let runtime = Program::called(&file, plim_runtime::NAME);
        let version = Said::of(&runtime)?.first_line().to_owned();
        let engine = Program::called(&file, plim::NAME);
        Ok(Self {
            info: SubjectInfo { name: CORE.into(), path: file.display().to_string(), version },
            runtime: Some(Arc::new(PlimRuntime::new(CORE, runtime))),
            engine: Some(Arc::new(Plim::new(CORE, engine))),
        })
    }

    /// A subject by the word that a user gave: `core`, a name to be found in PATH, or a path.
    ///
    /// # Errors
    /// There is no such program, or it says of itself nothing by which a runtime or an engine is known.
    pub fn named(word: &str) -> Result<Self, Error> {
        Self::with(word, &Options::default())
    }

    /// The same, with what the user says of it beside its name.
    ///
    /// # Errors
    /// As [`Subject::named`]; or it is no engine that could do what is said, or there is no daemon.
    pub fn with(word: &str, options: &Options) -> Result<Self, Error> {
        let takes_none = |what: &str| {
            let text =
                format!("--subject {word}: {what} takes no --host and no --runtime: they are for engines");
            Err(Error::new(ErrorKind::Unusable, text))
        };
        if word == CORE {
            return if *options == Options::default() {
                Self::core()
            } else {
                takes_none("our own runtime and engine")
            };
        }
        let path = find(word)?;
        let name = Path::new(word).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let program = Program::at(&path);
        let said =
            Said::of(&program).map_err(|error| Error::new(error.kind, format!("--subject {error}")))?;
        let runtime: Option<Arc<dyn Runtime>> = match RuncLike::recognise(&name, &program, &said) {
            Some(runtime) => Some(Arc::new(runtime)),
            None => None,
        };
        let mut engine: Option<Arc<dyn Engine>> = None;
        for (_, recognise) in ENGINES {
            engine = engine.or(recognise(&name, &program, &said, options)?);
        }
        if runtime.is_none() && engine.is_none() {
            return Err(unknown(word, &said));
        }
        if engine.is_none() && *options != Options::default() {
            return takes_none("a runtime");
        }
        let told = engine.as_ref().and_then(|engine| engine.version());
        let version = match told.as_deref().unwrap_or(said.first_line()) {
            "" => "version unknown".to_owned(),
            line => line.to_owned(),
        };
        let info = SubjectInfo { name, path: path.display().to_string(), version };
        Ok(Self { info, runtime, engine })
    }

    /// How it is called in reports.
    pub fn name(&self) -> &str {
        &self.info.name
    }
}

type Recognise = fn(&str, &Program, &Said, &Options) -> Result<Option<Arc<dyn Engine>>, Error>;

/// All engines: what people call each, and how it is recognised, in its own file.
const ENGINES: &[(&str, Recognise)] = &[
    ("plim", |name, program, said, options| Ok(shared(Plim::recognise(name, program, said, options)?))),
    ("podman", |name, program, said, options| Ok(shared(Podman::recognise(name, program, said, options)?))),
    ("docker", |name, program, said, options| Ok(shared(Docker::recognise(name, program, said, options)?))),
    ("containerd", |name, program, said, options| {
        Ok(shared(Containerd::recognise(name, program, said, options)?))
    }),
];

fn shared<E: Engine + 'static>(engine: Option<E>) -> Option<Arc<dyn Engine>> {
    engine.map(|engine| -> Arc<dyn Engine> { Arc::new(engine) })
}

/// The path of a program. Commands run elsewhere, so it must not depend on the directory; but what it names must stay what it is: a
/// link's name may be what its program goes by.
fn find(word: &str) -> Result<PathBuf, Error> {
    let path = if word.contains('/') { Some(PathBuf::from(word)) } else { runtime::process::in_path(word) };
    let path = path.filter(|path| path.is_file()).ok_or_else(|| {
        let remedy = "give `core`, a name in PATH (apt-get install runc), or a path";
        Error::new(ErrorKind::Missing, format!("--subject {word}: no such program; {remedy}"))
    })?;
    std::path::absolute(&path)
        .map_err(|error| Error::new(ErrorKind::Unusable, format!("--subject {word}: {error}")))
}

fn unknown(word: &str, said: &Said) -> Error {
    let told = match said.first_line() {
        "" => "nothing".to_owned(),
        line => format!("'{}'", line.chars().take(80).collect::<String>()),
    };
    let engines: Vec<&str> = ENGINES.iter().map(|(engine, _)| *engine).collect();
    Error::new(
        ErrorKind::Unknown,
        format!(
            "--subject {word}: unknown runtime or engine: `--version` prints {told}, and `features` no document of the OCI runtime \
             specification (give an OCI runtime such as runc, crun or youki, or one of the engines {})",
            engines.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn script(dir: &Path, name: &str, text: &str) -> String {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    #[test]
    fn a_name_makes_no_subject() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["podman", "docker", "runc", "plim"] {
            let path = script(dir.path(), name, "echo 'tea version 1'");
            let refused = Subject::named(&path).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Unknown, "{name}");
            assert!(refused.to_string().contains("tea version 1"), "{refused}");
        }
    }

    #[test]
    fn what_it_says_makes_a_subject_whatever_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let podman = Subject::named(&script(dir.path(), "docker", "echo podman version 4.3.1")).unwrap();
        assert!(podman.engine.is_some() && podman.runtime.is_none());
        assert_eq!((podman.name(), podman.info.version.as_str()), ("docker", "podman version 4.3.1"));
        let text = "[ \"$1\" = features ] && echo '{\"ociVersionMax\": \"1.0.2\"}' || echo wrapped";
        let wrapper = Subject::named(&script(dir.path(), "wrapper", text)).unwrap();
        assert!(wrapper.runtime.is_some() && wrapper.engine.is_none());
    }

    #[test]
    fn containerd_is_not_made_to_serve() {
        let dir = tempfile::tempdir().unwrap();
        let served = dir.path().join("served");
        let text = format!(
            "[ \"$1\" = --version ] || touch {}; echo containerd github.com/containerd/containerd 1.6.20",
            served.display()
        );
        let path = script(dir.path(), "containerd", &text);
        script(dir.path(), "ctr", "echo ctr github.com/containerd/containerd 1.6.20");
        let subject = Subject::named(&path).unwrap();
        assert!(subject.engine.is_some() && subject.runtime.is_none() && !served.exists());
        let client = Subject::named(dir.path().join("ctr").to_str().unwrap()).unwrap();
        assert!(client.info.version.starts_with("containerd ") && !served.exists());
    }

    #[test]
    fn a_link_is_called_by_its_own_name() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[ \"${0##*/}\" = runc-like ] && [ \"$1\" = --version ] && echo 'runc-like 1' && echo 'spec: 1.0.2'";
        script(dir.path(), "multi", text);
        let link = dir.path().join("runc-like");
        symlink(dir.path().join("multi"), &link).unwrap();
        let found = Subject::named(link.to_str().unwrap()).unwrap();
        assert_eq!(found.info.path, link.display().to_string());
        assert!(found.runtime.is_some());
        assert!(Subject::named(dir.path().join("multi").to_str().unwrap()).is_err());
    }

    #[test]
    fn what_is_not_there_or_cannot_be_started_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Subject::named("/no/such/runtime").unwrap_err().kind, ErrorKind::Missing);
        let text = dir.path().join("text");
        fs::write(&text, "no program").unwrap();
        assert_eq!(Subject::named(text.to_str().unwrap()).unwrap_err().kind, ErrorKind::Unusable);
    }
}
