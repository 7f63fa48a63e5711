//! Daemons that listen on this host, as `doctor` tells of them.

use std::os::unix::net::UnixStream;

use subject::{Options, Subject};

/// Tells which daemons listen, what they are, and how they are checked.
pub(super) fn show() {
    let named = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let usual = "unix:///var/run/docker.sock".to_owned();
    for host in named.into_iter().chain([usual]) {
        if host.strip_prefix("unix://").is_some_and(|path| UnixStream::connect(path).is_err()) {
            output::outln!(
                "lacks  a Docker daemon at {host}: start it, or leave out --host and each check has one of its own"
            );
            continue;
        }
        let options = Options { host: Some(host.clone()), ..Options::default() };
        match Subject::with("docker", &options) {
            Ok(subject) => output::outln!(
                "has    a Docker daemon at {host}: {}; check --subject docker --host {host} --scope runtime",
                subject.info.version
            ),
            Err(error) => output::outln!("lacks  a Docker daemon at {host}: {error}"),
        }
    }
    for (what, path) in [
        ("containerd", "/run/containerd/containerd.sock"),
        ("CRI-O", "/run/crio/crio.sock"),
        ("Podman's service", "/run/podman/podman.sock"),
    ] {
        if UnixStream::connect(path).is_ok() {
            output::outln!("has    {what} at {path}: not checked where it runs");
        }
    }
}
