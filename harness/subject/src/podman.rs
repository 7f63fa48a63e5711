//! Podman. Source: podman(1).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use crate::bundle::Dialect;
use crate::engine::{Ability, Engine, Place, Words};
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
    /// Whether it runs as it was installed: the user has a configuration, or its own values can be had.
    is_configured: bool,
}

/// Names a configuration that is read instead of the system's. Source: containers.conf(5).
const CONFIGURATION: &str = "CONTAINERS_CONF";

/// The administrator's.
const SYSTEM: &str = "/etc/containers/containers.conf";

/// Whether this process may raise its hard limits, as Podman does for each container. Sources: capabilities(7), CAP_SYS_RESOURCE;
/// proc_pid_status(5).
fn may_raise_limits() -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & SYS_RESOURCE != 0)
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
        let is_configured = std::env::var_os(CONFIGURATION).is_some() || Path::new(SYSTEM).exists();
        let is_configured = is_configured || may_raise_limits();
        Ok(Some(Self { name: name.to_owned(), program: program.clone(), runtime, is_configured }))
    }

    /// The configuration of a place, for a user who has named none. Source: containers.conf(5).
    fn configuration(place: &Place) -> PathBuf {
        place.path("etc/containers.conf")
    }
}

/// As many of something as are wanted, but no more than this process may have.
fn most(resource: Resource, wanted: u64) -> io::Result<u64> {
    let (_, hard) = getrlimit(resource)?;
    Ok(hard.min(wanted))
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

    fn variables(&self, place: &Place) -> Vec<(&'static str, PathBuf)> {
        let mut variables = vec![("REGISTRY_AUTH_FILE", self.logins(place))];
        if !self.is_configured {
            variables.push((CONFIGURATION, Self::configuration(place)));
        }
        variables
    }

    /// None run, but the file of logins must be there: Podman 4.3 starts nothing where the variable names one that is not.
    fn services(&self, place: &Place) -> io::Result<Vec<Service>> {
        use std::os::unix::fs::OpenOptionsExt;
        match File::options().write(true).create_new(true).mode(0o600).open(self.logins(place)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?.write_all(b"{}")?,
        }
        if self.is_configured {
            return Ok(Vec::new());
        }
        fs::create_dir_all(place.path("etc"))?;
        let file = Self::configuration(place);
        // Its own values are above what a process without CAP_SYS_RESOURCE may have.
        let (open, tasks) = (most(Resource::RLIMIT_NOFILE, 1_024)?, most(Resource::RLIMIT_NPROC, 4_096)?);
        let text = format!(
            "[containers]\ndefault_ulimits = [\"nofile={open}:{open}\", \"nproc={tasks}:{tasks}\"]\n"
        );
        fs::write(file, text)?;
        Ok(Vec::new())
    }

    fn words(&self) -> Option<Words> {
        Some(Words::Options(Dialect::Podman))
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
