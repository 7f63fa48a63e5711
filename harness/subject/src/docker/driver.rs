//! The client, and which daemon it speaks to.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::daemon::{Info, OwnDaemon, major, socket};
use crate::bundle::Dialect;
use crate::engine::{Ability, Engine, Place, Words};
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::program::Program;
use crate::said::Said;
use crate::service::Service;

/// Docker.
#[derive(Debug)]
pub(crate) struct Docker {
    name: String,
    program: Program,
    daemon: Daemon,
    /// Whether the client can build with BuildKit.
    build_kit: bool,
}

/// Which daemon.
#[derive(Debug)]
enum Daemon {
    /// One for each data root.
    Own(OwnDaemon),
    /// Somebody's, at this address.
    Running(String, Info),
}

impl Docker {
    /// It, if the program says that it is it.
    ///
    /// # Errors
    /// It is Docker's client, and there is no daemon for it.
    pub(crate) fn recognise(
        name: &str,
        program: &Program,
        said: &Said,
        options: &Options,
    ) -> Result<Option<Self>, Error> {
        if !said.first_line().starts_with("Docker version ") {
            return Ok(None);
        }
        let named = || std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let daemon = match options.host.clone().or_else(named) {
            Some(host) if options.runtimes.is_empty() => {
                let info = Info::of(program, &host)?;
                Daemon::Running(host, info)
            }
            Some(host) => {
                let text = format!(
                    "--runtime: the daemon at {host} runs already with its own: leave out one of them"
                );
                return Err(Error::new(ErrorKind::Unusable, text));
            }
            None => Daemon::Own(OwnDaemon::find(options)?),
        };
        // The client of 20.10 speaks BuildKit itself; a newer one needs a plugin.
        let build_kit = major(said.first_line()) < 23 || has_plugin(program);
        Ok(Some(Self { name: name.to_owned(), program: program.clone(), daemon, build_kit }))
    }
}

fn has_plugin(program: &Program) -> bool {
    let asked = program.command(None).args(["buildx", "version"]).output();
    asked.is_ok_and(|output| output.status.success())
}

impl Engine for Docker {
    fn name(&self) -> &str {
        &self.name
    }

    fn program(&self) -> &Program {
        &self.program
    }

    fn version(&self) -> Option<String> {
        Some(match &self.daemon {
            Daemon::Own(own) => own.version.clone(),
            Daemon::Running(_, info) => info.line(),
        })
    }

    fn options(&self, place: &Place) -> Vec<OsString> {
        let host = match &self.daemon {
            Daemon::Own(_) => format!("unix://{}", socket(place).display()),
            Daemon::Running(host, _) => host.clone(),
        };
        vec!["--host".into(), host.into()]
    }

    fn variables(&self, place: &Place) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("DOCKER_CONFIG", place.path("client")),
            // It would speak to another daemon.
            ("DOCKER_CONTEXT", PathBuf::new()),
            ("DOCKER_BUILDKIT", if self.build_kit { "1" } else { "0" }.into()),
        ]
    }

    fn services(&self, place: &Place) -> io::Result<Vec<Service>> {
        match &self.daemon {
            Daemon::Own(own) => own.services(place),
            Daemon::Running(..) => Ok(Vec::new()),
        }
    }

    fn lacks(&self, ability: Ability) -> Option<String> {
        match ability {
            Ability::OciLayout => (major(&self.version().unwrap_or_default()) < 25)
                .then(|| "docker save writes OCI layouts since 25.0: this is an older one".to_owned()),
            Ability::BuildKit => (!self.build_kit).then(|| {
                "this client builds without BuildKit: apt-get install docker-buildx, or take the client of 20.10".to_owned()
            }),
        }
    }

    fn logins(&self, place: &Place) -> PathBuf {
        place.path("client/config.json")
    }

    fn words(&self) -> Option<Words> {
        Some(Words::Options(Dialect::Docker))
    }

    fn is_shared(&self) -> bool {
        matches!(self.daemon, Daemon::Running(..))
    }
}
