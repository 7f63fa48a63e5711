//! containerd, asked by its client `ctr`: with a daemon of its own for each place. Sources: containerd(8), containerd-config.toml(5),
//! ctr(8).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::engine::{Engine, Place, Words};
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::program::Program;
use crate::said::Said;
use crate::service::Service;

/// containerd.
#[derive(Debug)]
pub(crate) struct Containerd {
    name: String,
    /// The client.
    program: Program,
    daemon: PathBuf,
    version: String,
    runtime: Option<PathBuf>,
}

impl Containerd {
    /// It, if the program says that it is it, or its client.
    ///
    /// # Errors
    /// The other of the two is not there, or it is asked for what it cannot do.
    pub(crate) fn recognise(
        name: &str,
        program: &Program,
        said: &Said,
        options: &Options,
    ) -> Result<Option<Self>, Error> {
        let is = |program: &str| said.first_line().starts_with(&format!("{program} github.com/containerd/"));
        let (client, daemon) = if is("containerd") {
            (beside(program.path(), "ctr")?, program.path().to_owned())
        } else if is("ctr") {
            (program.path().to_owned(), beside(program.path(), "containerd")?)
        } else {
            return Ok(None);
        };
        if options.host.is_some() {
            let text = format!("--subject {name}: each check has a containerd of its own: leave out --host");
            return Err(Error::new(ErrorKind::Unusable, text));
        }
        let version = Said::of(&Program::at(&daemon))?.first_line().to_owned();
        let runtime = options.runtimes.first().map(|(_, path)| path.clone());
        let program = Program::at(client);
        Ok(Some(Self { name: name.to_owned(), program, daemon, version, runtime }))
    }

    fn socket(place: &Place) -> PathBuf {
        place.short().join("containerd.sock")
    }

    /// A directory with a program `runc` that is the runtime asked for: `ctr containers create` takes no name of one.
    fn as_runc(place: &Place, runtime: &Path) -> io::Result<PathBuf> {
        let dir = place.path("bin");
        fs::create_dir_all(&dir)?;
        let script = dir.join("runc");
        let quoted = runtime.display().to_string().replace('\'', "'\\''");
        fs::write(&script, format!("#!/bin/sh\nexec '{quoted}' \"$@\"\n"))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(dir)
    }
}

/// A program in the directory of another, or in PATH.
fn beside(path: &Path, name: &str) -> Result<PathBuf, Error> {
    let near = path.with_file_name(name);
    let found = if near.is_file() { Some(near) } else { runtime::process::in_path(name) };
    found.ok_or_else(|| {
        let text =
            format!("{} needs {name}, which is not in PATH: apt-get install containerd", path.display());
        Error::new(ErrorKind::Missing, text)
    })
}

impl Engine for Containerd {
    fn name(&self) -> &str {
        &self.name
    }

    fn program(&self) -> &Program {
        &self.program
    }

    fn version(&self) -> Option<String> {
        Some(self.version.clone())
    }

    fn options(&self, place: &Place) -> Vec<OsString> {
        vec!["--address".into(), Self::socket(place).into(), "--namespace".into(), "plimsoll".into()]
    }

    fn variables(&self, _place: &Place) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
    }

    fn services(&self, place: &Place) -> io::Result<Vec<Service>> {
        for name in ["etc", "logs"] {
            fs::create_dir_all(place.path(name))?;
        }
        fs::create_dir_all(place.short())?;
        let config = place.path("etc/containerd.toml");
        let path = |path: PathBuf| format!("{:?}", path.display().to_string());
        let text = format!(
            // The plugin of the CRI makes a network, and the other one a directory in /opt.
            "version = 2\nroot = {}\nstate = {}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = {}\n",
            path(place.data()),
            path(place.short().join("state")),
            path(Self::socket(place)),
        );
        fs::write(&config, text)?;
        let mut arguments: Vec<OsString> = vec!["--config".into(), config.into()];
        let mut program = self.daemon.clone();
        if let Some(runtime) = &self.runtime {
            // env(1) is replaced by the daemon, which says itself that it is ready.
            let first = Self::as_runc(place, runtime)?;
            let paths = std::env::var_os("PATH").unwrap_or_default();
            let all = std::iter::once(first).chain(std::env::split_paths(&paths));
            let mut path = OsString::from("PATH=");
            path.push(std::env::join_paths(all).map_err(io::Error::other)?);
            arguments.splice(0..0, [path, program.into()]);
            program = PathBuf::from("/usr/bin/env");
        }
        Ok(vec![Service { program, arguments, log: place.path("logs/containerd") }])
    }

    fn words(&self) -> Option<Words> {
        Some(Words::Ctr)
    }

    fn has_docker_commands(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(runtime: Option<&str>) -> Containerd {
        Containerd {
            name: "containerd".into(),
            program: Program::at("/usr/bin/ctr"),
            daemon: "/usr/bin/containerd".into(),
            version: "containerd github.com/containerd/containerd 1.6.20".into(),
            runtime: runtime.map(PathBuf::from),
        }
    }

    #[test]
    fn all_that_it_keeps_lies_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().join("try"), dir.path().join("s"), "group");
        let services = of(None).services(&place).unwrap();
        assert_eq!(services[0].program, Path::new("/usr/bin/containerd"));
        let config = fs::read_to_string(place.path("etc/containerd.toml")).unwrap();
        for line in config.lines().filter(|line| line.contains('/')) {
            let (_, value) = line.split_once(" = ").unwrap();
            assert!(value.trim_matches('"').starts_with(dir.path().to_str().unwrap()), "{line}");
        }
    }

    #[test]
    fn a_runtime_is_found_as_runc_before_every_other() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().join("try"), dir.path().join("s"), "group");
        let services = of(Some("/bin/echo")).services(&place).unwrap();
        let path = services[0].arguments[0].to_str().unwrap().trim_start_matches("PATH=").to_owned();
        let first = std::env::split_paths(&path).next().unwrap();
        let said = std::process::Command::new(first.join("runc")).arg("x y").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "x y\n");
    }
}
