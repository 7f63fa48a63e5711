//! Podman. Source: podman(1).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::engine::{Ability, Engine, Place};
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::program::Program;
use crate::said::Said;
use crate::service::Service;

/// Podman.
#[derive(Debug)]
pub(crate) struct Podman {
    name: String,
    program: Program,
    runtime: Option<PathBuf>,
}

impl Podman {
    /// It, if the program says that it is it: the package podman-docker calls it `docker`.
    ///
    /// # Errors
    /// It is asked for what it has not: a daemon.
    pub(crate) fn recognise(
        name: &str,
        program: &Program,
        said: &Said,
        options: &Options,
    ) -> Result<Option<Self>, Error> {
        if !said.first_line().starts_with("podman version ") {
            return Ok(None);
        }
        if options.host.is_some() {
            let text = format!("--subject {name}: Podman has no daemon: leave out --host and DOCKER_HOST");
            return Err(Error::new(ErrorKind::Unusable, text));
        }
        let runtime = options.runtimes.first().map(|(_, path)| path.clone());
        Ok(Some(Self { name: name.to_owned(), program: program.clone(), runtime }))
    }
}

impl Engine for Podman {
    fn name(&self) -> &str {
        &self.name
    }

    fn program(&self) -> &Program {
        &self.program
    }

    fn options(&self, place: &Place) -> Vec<OsString> {
        let mut options: Vec<OsString> = vec![
            "--root".into(),
            place.data().into(),
            // It takes no more than 50 characters for the directory of its sockets.
            "--runroot".into(),
            place.short().into(),
            "--tmpdir".into(),
            place.path("tmp").into(),
            "--cgroup-manager".into(),
            "cgroupfs".into(),
            "--events-backend".into(),
            "file".into(),
            "--storage-driver".into(),
            "overlay".into(),
            // Networks are kept for the whole host otherwise, whatever the root.
            "--network-config-dir".into(),
            place.path("networks").into(),
        ];
        if let Some(runtime) = &self.runtime {
            options.extend(["--runtime".into(), runtime.into()]);
        }
        options
    }

    /// None run, but the file of logins must be there: Podman 4.3 starts nothing where the variable names one that is not.
    fn services(&self, place: &Place) -> io::Result<Vec<Service>> {
        use std::os::unix::fs::OpenOptionsExt;
        match File::options().write(true).create_new(true).mode(0o600).open(self.logins(place)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?.write_all(b"{}")?,
        }
        Ok(Vec::new())
    }

    fn variables(&self, place: &Place) -> Vec<(&'static str, PathBuf)> {
        vec![("REGISTRY_AUTH_FILE", self.logins(place))]
    }

    fn lacks(&self, ability: Ability) -> Option<String> {
        match ability {
            Ability::OciLayout => Some(
                "podman save writes Docker archives, and OCI layouts with --format oci-archive alone".into(),
            ),
            Ability::BuildKit => None,
        }
    }
}
