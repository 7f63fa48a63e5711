//! From a case to the documents that a subject gets.

use runtime::oci::{Capabilities, Root, example};
use serde_json::{Value, json};

use crate::case::{Case, Edit};
use crate::pointer;

/// Stands in a case for the bundle's directory.
pub(crate) const BUNDLE: &str = "@BUNDLE@";
/// Stands in a case for the PID of a process of the host.
pub(crate) const HOST: &str = "@HOST@";
/// Variable by which the processes of a search are found.
const RUN: &str = kit::run::RUN_VARIABLE;

/// What the words of a case mean where it is played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The container's id, which is also the name of its group.
    pub(crate) id: &'a str,
    /// The bundle's directory.
    pub(crate) bundle: &'a str,
    /// A process of the host.
    pub(crate) host: &'a str,
    /// The id of the run.
    pub(crate) run: &'a str,
}

/// The configuration that every case starts with: all namespaces but the user's, a probe as the application, few capabilities.
fn usual(place: Place<'_>) -> Value {
    let mut spec = example();
    "1.0.2".clone_into(&mut spec.oci_version);
    spec.hostname = Some("inside".into());
    spec.root = Some(Root { path: "rootfs".into(), readonly: false });
    if let Some(process) = spec.process.as_mut() {
        process.terminal = false;
        process.args = vec!["/probe".into(), "serve".into()];
        process.env = vec!["PATH=/bin:/".into(), format!("{RUN}={}", place.run)];
        process.rlimits.clear();
        process.no_new_privileges = false;
        let names: Vec<String> =
            ["CHOWN", "KILL", "SYS_ADMIN", "SETUID"].iter().map(|name| format!("CAP_{name}")).collect();
        process.capabilities = Some(Capabilities {
            bounding: names.clone(),
            effective: names.clone(),
            permitted: names,
            ..Capabilities::default()
        });
    }
    spec.linux.get_or_insert_default().cgroups_path = Some(format!("/{}", place.id).into());
    serde_json::to_value(spec).unwrap_or_default()
}

/// `config.json` of a case.
pub(crate) fn config(case: &Case, place: Place<'_>) -> Value {
    let mut document = usual(place);
    apply(&mut document, &case.edits, place);
    document
}

/// The file of a process that `exec` takes: the container's own, changed, and a snapshot is its program.
pub(crate) fn process(config: &Value, edits: &[Edit], place: Place<'_>) -> Value {
    let mut document = json!({ "process": config["process"].clone() });
    pointer::set(&mut document, "/process/args", json!(["/probe", "snapshot", "/"]));
    apply(&mut document, edits, place);
    document["process"].take()
}

fn apply(document: &mut Value, edits: &[Edit], place: Place<'_>) {
    for (at, value) in edits.iter().flat_map(|edit| &edit.set) {
        pointer::set(document, at, value.clone());
    }
    pointer::replace(document, &[(BUNDLE, place.bundle), (HOST, place.host)]);
}
