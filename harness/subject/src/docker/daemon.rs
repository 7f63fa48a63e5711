//! dockerd and the containerd below it, with everything that they keep in a place of their own. Sources: dockerd(8),
//! containerd-config.toml(5).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::engine::Place;
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::program::{Program, complaint};
use crate::said::Said;
use crate::service::Service;

/// Programs from which a daemon is made for each data root.
#[derive(Debug)]
pub(super) struct OwnDaemon {
    dockerd: PathBuf,
    containerd: PathBuf,
    runtimes: Vec<(String, PathBuf)>,
    /// What `dockerd --version` says.
    pub(super) version: String,
}

/// Where the daemon listens, in a place.
pub(super) fn socket(place: &Place) -> PathBuf {
    place.short().join("docker.sock")
}

impl OwnDaemon {
    /// The programs in PATH.
    pub(super) fn find(options: &Options) -> Result<Self, Error> {
        let program = |name: &str| {
            runtime::process::in_path(name).ok_or_else(|| {
                let remedy = "apt-get install docker.io, or give --host for a daemon that runs elsewhere";
                Error::new(
                    ErrorKind::Missing,
                    format!("--subject docker: there is no {name} in PATH: {remedy}"),
                )
            })
        };
        let (dockerd, containerd) = (program("dockerd")?, program("containerd")?);
        let version = Said::of(&Program::at(&dockerd))?.first_line().to_owned();
        Ok(Self { dockerd, containerd, runtimes: options.runtimes.clone(), version })
    }

    /// containerd, and the daemon above it.
    pub(super) fn services(&self, place: &Place) -> io::Result<Vec<Service>> {
        for name in ["etc", "logs"] {
            fs::create_dir_all(place.path(name))?;
        }
        fs::create_dir_all(place.short())?;
        // Of one that was killed; its number is somebody else's by now.
        if let Err(error) = fs::remove_file(place.short().join("docker.pid"))
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        Ok(vec![self.below(place)?, self.above(place)?])
    }

    fn below(&self, place: &Place) -> io::Result<Service> {
        let config = place.path("etc/containerd.toml");
        let path = |path: &Path| format!("{:?}", path.display().to_string());
        fs::write(
            &config,
            format!(
                // Docker uses neither; one makes a network, the other a directory in /opt.
                "version = 2\nroot = {}\nstate = {}\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
                 [grpc]\naddress = {}\n",
                path(&place.path("containerd")),
                path(&place.short().join("containerd")),
                path(&place.short().join("containerd.sock")),
            ),
        )?;
        let arguments = vec!["--config".into(), config.into()];
        Ok(Service { program: self.containerd.clone(), arguments, log: place.path("logs/containerd") })
    }

    fn above(&self, place: &Place) -> io::Result<Service> {
        let config = place.path("etc/daemon.json");
        // Until 23.0 the daemon makes a key; without this it would lie in /etc/docker.
        let key = serde_json::json!({ "deprecated-key-path": place.path("etc/key.json") });
        fs::write(&config, if self.major() < 23 { key.to_string() } else { "{}".to_owned() })?;
        let mut arguments: Vec<OsString> = Vec::new();
        let host = format!("unix://{}", socket(place).display());
        for (option, value) in [
            ("--config-file", config.into_os_string()),
            ("--containerd", place.short().join("containerd.sock").into()),
            ("--data-root", place.data().into()),
            ("--exec-root", place.short().join("exec").into()),
            ("--pidfile", place.short().join("docker.pid").into()),
            ("--host", host.into()),
            ("--cgroup-parent", format!("/{}", place.group()).into()),
            ("--exec-opt", "native.cgroupdriver=cgroupfs".into()),
            // Without CAP_SYS_RESOURCE nothing can be above what this process has.
            ("--default-ulimit", "nofile=1024:1024".into()),
        ] {
            arguments.extend([option.into(), value]);
        }
        for (name, path) in &self.runtimes {
            arguments.extend(["--add-runtime".into(), format!("{name}={}", path.display()).into()]);
        }
        if let Some((name, _)) = self.runtimes.first() {
            arguments.extend(["--default-runtime".into(), name.into()]);
        }
        Ok(Service { program: self.dockerd.clone(), arguments, log: place.path("logs/dockerd") })
    }

    fn major(&self) -> u32 {
        major(&self.version)
    }
}

/// The first number of a version, such as 20 of `Docker version 20.10.24+dfsg1, build 5d6db84`; 0 if there is none.
pub(super) fn major(version: &str) -> u32 {
    let number = version.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What a daemon says of itself in `docker info`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    /// Its version; not there if the daemon did not answer.
    pub(super) server_version: Option<String>,
    /// Its runtime for containers that name none.
    pub(super) default_runtime: Option<String>,
    /// Where it keeps layers.
    pub(super) driver: Option<String>,
    /// How it makes groups: cgroupfs or systemd.
    pub(super) cgroup_driver: Option<String>,
    /// What confines its containers.
    pub(super) security_options: Option<Vec<String>>,
}

impl Info {
    /// Asks a running daemon.
    pub(super) fn of(program: &Program, host: &str) -> Result<Self, Error> {
        let unusable = |text: String| Error::new(ErrorKind::Unusable, format!("--host {host}: {text}"));
        let mut command = program.command(None);
        command.env("DOCKER_CONTEXT", "").args(["--host", host, "info", "--format", "{{json .}}"]);
        let output = command.output().map_err(|error| unusable(error.to_string()))?;
        let info = serde_json::from_slice::<Self>(&output.stdout).ok();
        info.filter(|info| info.server_version.as_ref().is_some_and(|version| !version.is_empty()))
            .ok_or_else(|| unusable(format!("no daemon answers there: {}", complaint(&output))))
    }

    /// In one line, for a report.
    pub(super) fn line(&self) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        format!(
            "Docker version {} (runtime {}, storage {}, groups by {}, {})",
            text(&self.server_version),
            text(&self.default_runtime),
            text(&self.driver),
            text(&self.cgroup_driver),
            self.security_options.clone().unwrap_or_default().join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_a_first_number() {
        assert_eq!(major("Docker version 20.10.24+dfsg1, build 5d6db84"), 20);
        assert_eq!(major("Docker version 28.2.2, build e6534b4"), 28);
        assert_eq!(major("none"), 0);
    }

    #[test]
    fn everything_of_a_daemon_lies_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().join("try"), dir.path().join("s"), "plimsoll-x-1-engine");
        for (version, key) in [("Docker version 20.10.24", true), ("Docker version 26.1.5", false)] {
            let runtimes = vec![("plim".to_owned(), PathBuf::from("/opt/plim-runtime"))];
            let own = OwnDaemon {
                dockerd: "/usr/sbin/dockerd".into(),
                containerd: "/usr/bin/containerd".into(),
                runtimes,
                version: version.into(),
            };
            let services = own.services(&place).unwrap();
            let words: Vec<String> =
                services[1].arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            for option in
                ["--config-file", "--containerd", "--data-root", "--exec-root", "--pidfile", "--host"]
            {
                let at = words.iter().position(|word| word == option).unwrap();
                let value = words[at + 1].trim_start_matches("unix://");
                assert!(Path::new(value).starts_with(dir.path()), "{option} {value}");
            }
            assert!(words.windows(2).any(|two| two == ["--default-runtime", "plim"]), "{words:?}");
            let config = fs::read_to_string(place.path("etc/daemon.json")).unwrap();
            assert_eq!(config.contains("deprecated-key-path"), key, "{version}");
        }
    }
}
