//! How it is started: the image's configuration with the user's changes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::parts::Empty;
use crate::containers::record::Record;

/// How it is started.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config<'a> {
    domainname: &'a str,
    user: &'a str,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    stdin_once: bool,
    env: &'a [String],
    cmd: Option<&'a [String]>,
    volumes: Option<BTreeMap<&'a str, Empty>>,
    working_dir: &'a str,
    entrypoint: Option<&'a [String]>,
    on_build: Option<&'a [String]>,
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'a str>,
    /// As the image has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<&'a [String]>,
    hostname: String,
    tty: bool,
    open_stdin: bool,
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<u64>,
    /// Fields of the image's configuration that nobody here knows.
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Fields that an image may have and that the container's own take the place of.
const OWN: [&str; 9] = [
    "Hostname",
    "Domainname",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "StdinOnce",
    "OpenStdin",
    "Tty",
    "Image",
];

pub(super) fn config(record: &Record) -> Config<'_> {
    let (own, host) = (&record.config, &record.host);
    let published = host.ports.iter().map(|port| format!("{}/{}", port.container, port.protocol));
    let is_foreign =
        |field: &str| !(OWN.contains(&field) || field == "StopTimeout" && host.stop_timeout.is_some());
    Config {
        domainname: host.domainname.as_deref().unwrap_or_default(),
        user: &own.user,
        attach_stdin: host.attached && host.interactive,
        attach_stdout: host.attached,
        attach_stderr: host.attached,
        stdin_once: host.attached && host.interactive,
        env: &own.env,
        cmd: own.cmd.as_deref(),
        volumes: (!own.volumes.is_empty())
            .then(|| own.volumes.keys().map(|path| (path.as_str(), Empty {})).collect()),
        working_dir: &own.working_dir,
        entrypoint: own.entrypoint.as_deref(),
        on_build: (!own.on_build.is_empty()).then_some(own.on_build.as_slice()),
        labels: &own.labels,
        exposed_ports: own
            .exposed_ports
            .keys()
            .cloned()
            .chain(published)
            .map(|port| (port, Empty {}))
            .collect(),
        stop_signal: own.stop_signal.as_deref(),
        healthcheck: own.healthcheck.as_ref(),
        shell: own.shell.as_deref(),
        hostname: record.hostname(),
        tty: host.tty,
        open_stdin: host.interactive,
        image: &record.image,
        stop_timeout: host.stop_timeout,
        other: own
            .other
            .iter()
            .filter(|(field, _)| is_foreign(field))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect(),
    }
}
